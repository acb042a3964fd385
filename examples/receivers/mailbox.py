"""An SMTP server that keeps every mail as a file that a mail program opens."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP

from examples.receivers.faults import Faults, add_fault_routes
from examples.receivers.store import Document, Store


class Mailbox:
    """Takes mail for everyone; ``NNNN-<subject>.eml`` in the directory, in order of arrival."""

    def __init__(self, store: Store, directory: Path, *, changed: Callable[[], None]) -> None:
        self._store = store
        self._directory = directory
        self._changed = changed
        self.faults = Faults()
        directory.mkdir(parents=True, exist_ok=True)

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Answer SMTP on a port; 0 takes a free one."""

        def protocol() -> Any:
            return SMTP(self, hostname="localhost", ident="local receivers", enable_SMTPUTF8=True)

        return await asyncio.get_running_loop().create_server(protocol, host, port)

    def application(self) -> web.Application:
        """Faults and counts of the SMTP server, and the list of what it has: ``GET /mails``."""
        app = web.Application()
        add_fault_routes(app, self.faults)

        async def mails(_: web.Request) -> web.Response:
            return web.json_response(self.mails())

        app.router.add_get("/mails", mails)
        app.router.add_static("/mailbox", self._directory)
        return app

    def mails(self) -> list[Document]:
        """Every mail, oldest first: file, sender, recipients, subject, message_id, body."""
        return list(self._store.all("mails"))

    # The names are aiosmtpd's hooks.
    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        fault = self.faults.take("RCPT", address)
        if fault is not None and fault.do == "refuse":
            return f"{fault.code} refused by an armed fault"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        fault = self.faults.take("DATA")
        if fault is not None and fault.do == "refuse":
            return f"{fault.code} refused by an armed fault"
        if fault is not None and fault.do == "delay":
            await asyncio.sleep(fault.seconds)
        self._keep(envelope)
        if fault is not None and fault.do == "drop":
            server.transport.abort()
        return "250 OK"

    def _keep(self, envelope: Any) -> None:
        raw: bytes = envelope.original_content or envelope.content
        mail = message_from_bytes(raw, policy=policy.default)
        subject = str(mail["Subject"] or "")
        number = self._store.count("mails") + 1
        name = f"{number:04}-{_slug(subject)}.eml"
        part = self._directory / f"{name}.part"
        part.write_bytes(raw)
        part.replace(self._directory / name)
        kept = {
            "file": name,
            "at": time.time(),
            "sender": envelope.mail_from,
            "recipients": list(envelope.rcpt_tos),
            "subject": subject,
            "message_id": str(mail["Message-ID"] or ""),
            "headers": {key: str(value) for key, value in mail.items()},
            "body": _body(mail),
        }
        self._store.put("mails", f"{number:06}", kept)
        self._changed()


def _body(mail: EmailMessage) -> str:
    part = mail.get_body(preferencelist=("plain", "html"))
    return "" if part is None else str(part.get_content())


def _slug(subject: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:60] or "mail"
