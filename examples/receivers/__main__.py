"""``python -m examples.receivers --state-dir DIR``: run the receivers until SIGTERM or SIGINT.

Once everything listens, ``DIR/receivers.json`` names the addresses. What was received is in
``DIR/mailbox/*.eml``, ``DIR/mailbox.html``, ``DIR/status_page.html`` and ``DIR/slack.html``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from examples.receivers.mailbox import Mailbox
from examples.receivers.pages import mailbox_page, slack_page, status_page
from examples.receivers.slack import ALL_SCOPES, Slack
from examples.receivers.status_page import StatusPage
from examples.receivers.store import Store, write_whole


def main() -> None:
    arguments = _parser().parse_args()
    arguments.state_dir.mkdir(parents=True, exist_ok=True)
    asyncio.run(serve(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.receivers", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--slack-port", type=int, default=0, help="0: a free one")
    parser.add_argument("--statuspage-port", type=int, default=0, help="0: a free one")
    parser.add_argument("--smtp-port", type=int, default=0, help="0: a free one")
    parser.add_argument("--mailbox-port", type=int, default=0, help="HTTP view of the mailbox; 0: a free one")
    parser.add_argument("--slack-token", default="xoxb-demo")
    parser.add_argument("--slack-channels", default="#incidents,#general")
    parser.add_argument("--slack-scopes", default=",".join(ALL_SCOPES), help="what the token allows")
    parser.add_argument("--page-id", default="docrag")
    parser.add_argument("--page-key", default="demo-key")
    parser.add_argument("--page-components", default="document-rag=Document RAG", help="id=name,…")
    return parser


async def serve(arguments: argparse.Namespace) -> None:
    """Run the three servers until a signal."""
    directory: Path = arguments.state_dir
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(contextlib.closing(Store(directory / "receivers.sqlite3")))
        slack = Slack(
            store,
            token=arguments.slack_token,
            channels=tuple(arguments.slack_channels.split(",")),
            scopes=tuple(arguments.slack_scopes.split(",")),
            changed=lambda: write_whole(directory / "slack.html", slack_html()),
        )
        page = StatusPage(
            store,
            page_id=arguments.page_id,
            api_key=arguments.page_key,
            components=dict(item.split("=", 1) for item in arguments.page_components.split(",")),
            changed=lambda: write_whole(directory / "status_page.html", page_html()),
        )
        mailbox = Mailbox(
            store,
            directory / "mailbox",
            changed=lambda: write_whole(directory / "mailbox.html", mailbox_html()),
        )

        def slack_html() -> str:
            return slack_page(slack.channels(), slack.messages())

        def page_html() -> str:
            return status_page(page.incidents())

        def mailbox_html() -> str:
            return mailbox_page(mailbox.mails())

        host: str = arguments.host
        slack_at = await _serve_http(stack, slack.application(), slack_html, host, arguments.slack_port)
        page_at = await _serve_http(stack, page.application(), page_html, host, arguments.statuspage_port)
        mails_at = await _serve_http(stack, mailbox.application(), mailbox_html, host, arguments.mailbox_port)
        smtp = await stack.enter_async_context(await mailbox.listen(host, arguments.smtp_port))
        for name, html in (("slack", slack_html), ("status_page", page_html), ("mailbox", mailbox_html)):
            write_whole(directory / f"{name}.html", html())
        smtp_port = smtp.sockets[0].getsockname()[1]
        addresses = {
            **_addresses(slack_at, page_at, mails_at),
            "smtp": {"host": host, "port": smtp_port},
        }
        write_whole(directory / "receivers.json", json.dumps(addresses, indent=2) + "\n")
        await stop.wait()


def _addresses(slack: str, page: str, mailbox: str) -> dict[str, Any]:
    """What a client is set to, and under ``pages`` what a person opens."""
    return {
        "slack": f"{slack}/api/",
        "statuspage": f"{page}/v1",
        "mailbox": mailbox,
        "pages": {"slack": f"{slack}/", "statuspage": f"{page}/", "mailbox": f"{mailbox}/"},
    }


async def _serve_http(
    stack: contextlib.AsyncExitStack, app: web.Application, html: Callable[[], str], host: str, port: int
) -> str:
    """Serve an API with its page for people at ``/``; the base address."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=html(), content_type="text/html")

    app.router.add_get("/", show)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port).start()
    return f"http://{host}:{runner.addresses[0][1]}"


if __name__ == "__main__":
    main()
