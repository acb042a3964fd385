"""Faults that the real services show, armed from outside for a number of requests.

``PUT /_faults`` replaces the list:

    {"faults": [{"on": "chat.postMessage", "do": "rate_limit", "retry_after": 2, "times": 1}]}

``on`` names an operation (``*`` is any); ``do`` is one of

- ``rate_limit``: 429 with ``Retry-After`` (nothing is done);
- ``error``: the status ``status``, default 500 (nothing is done);
- ``delay``: wait ``seconds`` and then do it, whether or not the caller still waits;
- ``drop``: do it, then close the connection without an answer;
- ``refuse`` (SMTP): answer with ``code`` instead of taking the mail, for an ``RCPT`` of the
  address ``address`` only, where that is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KINDS = ("rate_limit", "error", "delay", "drop", "refuse")


class BadFault(ValueError):
    """What was put is no list of faults."""


@dataclass(slots=True)
class Fault:
    """One armed fault; ``times`` counts down to 0."""

    on: str
    do: str
    times: int = 1
    retry_after: float = 1
    seconds: float = 1
    status: int = 500
    code: int = 451
    address: str = ""


@dataclass(slots=True)
class Faults:
    """The armed faults of one server, and how many requests of each operation it has had."""

    armed: list[Fault] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)

    def replace(self, body: Any) -> None:
        """Arm exactly these; raises BadFault."""
        try:
            armed = [Fault(**item) for item in body["faults"]]
        except (KeyError, TypeError) as error:
            raise BadFault(f"write {{'faults': [{{'on': …, 'do': …}}]}}: {error}") from error
        for fault in armed:
            if fault.do not in KINDS:
                raise BadFault(f"{fault.do!r} is none of {', '.join(KINDS)}")
        self.armed = armed

    def take(self, operation: str, address: str = "") -> Fault | None:
        """Count a request and return the fault that it meets."""
        self.requests[operation] = self.requests.get(operation, 0) + 1
        for fault in self.armed:
            if fault.on in (operation, "*") and fault.address in ("", address) and fault.times > 0:
                fault.times -= 1
                return fault
        return None


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def with_faults(
    faults: Faults, operation: str, request: web.Request, handler: Handler, rate_limited: web.Response
) -> web.StreamResponse:
    """Handle a request as the fault that it meets, if any, has it."""
    fault = faults.take(operation)
    if fault is None:
        return await handler(request)
    if fault.do == "rate_limit":
        rate_limited.headers["Retry-After"] = f"{fault.retry_after:g}"
        return rate_limited
    if fault.do == "error":
        return web.json_response({"ok": False, "error": "internal_error"}, status=fault.status)
    if fault.do == "delay":
        # The body must be read while the caller is still there.
        await request.read()
        await asyncio.sleep(fault.seconds)
        return await handler(request)
    answer = await handler(request)
    if request.transport is not None:
        request.transport.abort()
    return answer


def add_fault_routes(app: web.Application, faults: Faults) -> None:
    """``PUT /_faults`` arms them, ``GET /_requests`` counts the requests by operation."""

    async def put(request: web.Request) -> web.Response:
        try:
            faults.replace(await request.json())
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"armed": len(faults.armed)})

    async def counts(_: web.Request) -> web.Response:
        return web.json_response(faults.requests)

    app.router.add_put("/_faults", put)
    app.router.add_get("/_requests", counts)
