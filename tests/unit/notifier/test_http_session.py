"""A process that was stopped with its connection made sends nothing when it goes on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.notifier.adapters.http_session import session_for

TIMEOUT_S = 0.3


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async def handle(_: web.Request) -> web.Response:
        app[seen].append("a request")
        return web.Response(text="taken")

    app = web.Application()
    app[seen] = []
    app.router.add_post("/", handle)
    started = TestServer(app)
    await started.start_server()
    yield started
    await started.close()


seen = web.AppKey("seen", list[str])


def stopped_for(seconds: float) -> aiohttp.TraceConfig:
    """Stops the whole loop once the connection is made, as SIGSTOP does."""

    async def stop(_: aiohttp.ClientSession, __: SimpleNamespace, ___: object) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - nothing else may run

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(stop)
    return trace


async def test_a_request_in_time_is_made(server: TestServer) -> None:
    async with session_for(TIMEOUT_S) as session, session.post(server.make_url("/")) as answer:
        assert await answer.text() == "taken"
    assert server.app[seen] == ["a request"]


async def test_a_request_that_would_be_written_late_is_not(server: TestServer) -> None:
    async with session_for(TIMEOUT_S) as session:
        stop = stopped_for(TIMEOUT_S + 0.1)
        stop.freeze()
        session.trace_configs.insert(0, stop)
        with pytest.raises(TimeoutError):
            await session.post(server.make_url("/"))
    await server.close()
    assert server.app[seen] == []
