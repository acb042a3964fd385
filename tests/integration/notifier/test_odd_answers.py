"""Answers that no standard allows, and that servers give all the same: none ends the notifier."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from chassis.settings import Settings
from tests.integration.notifier.stage import Notifiers, Rollback, settled

EVERYONE = 9
# Latin-1, as mail servers of Europe still say it; and a NUL, which no text of Postgres can hold.
REFUSAL = "550 Empfänger unbekannt\x00".encode("latin-1")


@contextlib.asynccontextmanager
async def mail_server(answer_to_rcpt: bytes) -> AsyncIterator[int]:
    """A server that answers each recipient with these bytes; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 localhost\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            writer.write((answer_to_rcpt if verb == b"RCPT" else b"250 OK") + b"\r\n")
            await writer.drain()
            if verb == b"QUIT":
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


@contextlib.asynccontextmanager
async def web_server(answer: web.Response) -> AsyncIterator[str]:
    """A server that answers everything so; yields its address."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def deliveries(
    settings: Settings, notifiers: Notifiers, rollback: Rollback, **variables: str
) -> dict[str, dict[str, Any]]:
    """How everyone's delivery of a rollback's start ends, by receiver, with a notifier that goes on."""
    process = notifiers.start(**variables)
    await rollback.say("started")
    rows = {row["receiver"]: row for row in await settled(settings, EVERYONE)}
    assert process.poll() is None, notifiers.log(0).read_text(encoding="utf-8")
    return rows


async def test_a_refusal_that_is_no_text_is_a_refusal_all_the_same(
    settings: Settings, notifiers: Notifiers, rollback: Rollback
) -> None:
    async with (
        mail_server(REFUSAL) as port,
        web_server(web.Response(status=422, body=b'{"error": "no\x00 good"}')) as page,
    ):
        own = {"BACKOUT_NOTIFIER__SMTP__PORT": str(port), "BACKOUT_NOTIFIER__STATUSPAGE__BASE_URL": page}
        rows = await deliveries(settings, notifiers, rollback, **own)

    for name, said in (("sales_team", "550 Empf"), ("status_page_update", "422")):
        assert (rows[name]["status"], rows[name]["attempts"]) == ("failed", 1)
        assert said in rows[name]["reason"]
    assert rows["engineering_team"]["status"] == "delivered"


async def test_a_wait_without_end_is_not_waited_for(
    settings: Settings, notifiers: Notifiers, rollback: Rollback
) -> None:
    limited = web.Response(status=429, headers={"Retry-After": "inf"})
    async with web_server(limited) as page:
        own = {"BACKOUT_NOTIFIER__STATUSPAGE__BASE_URL": page, "BACKOUT_NOTIFIER__MAX_ATTEMPTS": "2"}
        rows = await deliveries(settings, notifiers, rollback, **own)

    page_row = rows["status_page_update"]
    assert (page_row["status"], page_row["attempts"]) == ("failed", 2)


async def test_an_answer_that_is_nested_too_deep_is_one_of_an_unexpected_shape(
    settings: Settings, notifiers: Notifiers, rollback: Rollback
) -> None:
    deep = web.Response(body=b"[" * 100_000 + b"]" * 100_000, content_type="application/json")
    async with web_server(deep) as page:
        own = {"BACKOUT_NOTIFIER__STATUSPAGE__BASE_URL": page, "BACKOUT_NOTIFIER__MAX_ATTEMPTS": "2"}
        rows = await deliveries(settings, notifiers, rollback, **own)

    assert "an answer of an unexpected shape" in rows["status_page_update"]["reason"]
