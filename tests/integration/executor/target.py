"""A small real target: an HTTP service that honours idempotency keys and epochs, and keeps a ledger.

It stands in for any system with such an API, and misbehaves on demand in ways a real one does.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Effect:
    """One effect in the ledger: applied once, however often it was requested."""

    component: str
    key: str
    epoch: int
    path: str
    body: Any
    at: float
    requested: int = 1


@dataclass
class Faults:
    """What goes wrong, by the last part of the path."""

    healthy: bool = True
    accuracy: float = 0.99
    seconds_per_page: float = 0.2
    # Answer with this status, this many times, without an effect.
    refuse: dict[str, tuple[int, int]] = field(default_factory=dict)
    # Take this long (s) before the effect.
    delay: dict[str, float] = field(default_factory=dict)
    # Have the effect, but close the connection instead of answering, this many times.
    drop_answer: dict[str, int] = field(default_factory=dict)
    # Say yes, but do nothing.
    pretend: set[str] = field(default_factory=set)


class Target:
    """The service; ``url`` once it is started."""

    def __init__(self) -> None:
        self.url = ""
        self.effects: dict[str, Effect] = {}
        self.epochs: dict[str, int] = defaultdict(int)
        self.state: dict[str, dict[str, Any]] = {}
        self.faults = Faults()
        self.refused_epochs: list[tuple[str, int]] = []
        self.requests: list[tuple[str, str]] = []
        self._answers: dict[str, tuple[str, Any]] = {}
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/components/{name}", self._show)
        app.router.add_route("*", "/components/{name}/{part}", self._change)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def component(self, name: str) -> dict[str, Any]:
        """The component's state; at first the bad release is in charge."""
        return self.state.setdefault(name, {"enhanced": True, "original": False, "routing": "enhanced"})

    def applied(self, name: str) -> list[str]:
        """The last parts of the paths of the effects on a component, in order."""
        return [effect.path.rsplit("/", 1)[1] for effect in self.effects.values() if effect.component == name]

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"ok": self.faults.healthy}, status=200 if self.faults.healthy else 503)

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self.component(request.match_info["name"]))

    async def _change(self, request: web.Request) -> web.StreamResponse:
        name, part = request.match_info["name"], request.match_info["part"]
        key, epoch = request.headers["Idempotency-Key"], int(request.headers["X-Backout-Epoch"])
        body = await request.json()
        self.requests.append((part, key))
        if part in self.faults.delay:
            await asyncio.sleep(self.faults.delay[part])  # a slow target
        if epoch < self.epochs[name]:
            self.refused_epochs.append((part, epoch))
            return web.json_response({"error": "stale epoch"}, status=409)
        status, times = self.faults.refuse.get(part, (0, 0))
        if times > 0:
            self.faults.refuse[part] = (status, times - 1)
            return web.json_response({"error": "refused on purpose"}, status=status)
        self.epochs[name] = epoch
        fingerprint = json.dumps([request.path, body])
        if key in self._answers:
            known, answer = self._answers[key]
            if known != fingerprint:
                return web.json_response({"error": "key reused"}, status=422)
            self.effects[key].requested += 1
            return web.json_response(answer)
        self.effects[key] = Effect(name, key, epoch, request.path, body, time.time())
        answer = self._apply(name, part, body)
        self._answers[key] = (fingerprint, answer)
        if self.faults.drop_answer.get(part, 0) > 0:
            self.faults.drop_answer[part] -= 1
            assert request.transport is not None
            request.transport.close()
        return web.json_response(answer)

    def _apply(self, name: str, part: str, body: Any) -> Any:
        state = self.component(name)
        if part == "validate":
            return {"accuracy": self.faults.accuracy, "pace": {"max": self.faults.seconds_per_page}}
        if part not in self.faults.pretend:
            state[part] = body["to"]
        return state
