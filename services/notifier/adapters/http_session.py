"""The HTTP client of the channels: a request is made once, and in time or not at all.

Who takes over from a stopped process waits until its request can no longer land. A process that
was stopped after its connection was made, and goes on much later, finds the next step of the
request and its timeout due at once, and takes the step first. So the time is looked at again
right before anything is written.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

import aiohttp


def session_for(timeout_s: float) -> aiohttp.ClientSession:
    """A session whose requests raise TimeoutError once ``timeout_s`` have passed.

    One connection a request: on a kept one that the peer has closed, a request that was never
    read looks like one whose answer was lost.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        trace_configs=[_written_in_time(timeout_s)],
    )


def _written_in_time(timeout_s: float) -> aiohttp.TraceConfig:
    async def begin(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.begun = time.monotonic()

    async def check(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        if time.monotonic() - context.begun >= timeout_s:
            raise TimeoutError("connected too late to send")

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(begin)
    trace.on_connection_create_end.append(check)
    return trace
