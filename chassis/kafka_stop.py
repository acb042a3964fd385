"""Stopping clients of Kafka, with a broker and without one.

A client that is told to stop flushes what it holds and takes its leave, and both take a broker. Where none
answers, each client of a service would wait for it in turn, for longer than most supervisors wait before
they kill. So whoever stops asks once whether a broker answers, and all who stop with it go by that answer.
What was not written is decided again at the next start, as after a kill: a transaction that is left open
is aborted by whoever takes its id next, or by the broker once it has timed out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from chassis.errors import DependencyUnavailable

_ASK_S = 1.0
"""A broker that needs longer to say that it is there is not waited for by somebody who stops."""
_REMEMBERED_S = 10.0
_AT_ONCE_S = 0.5
_STOP_WAIT_S = 10.0


class Reach:
    """Whether the brokers can be reached, by ``check``, which raises DependencyUnavailable if not."""

    def __init__(self, check: Callable[[], Awaitable[None]]) -> None:
        self._check = check
        self._lost_at: float | None = None
        self._asking = asyncio.Lock()

    async def lost(self) -> bool:
        """Whether no broker answers within a second. That none does is remembered for a while."""
        async with self._asking:
            if not self._is_lost():
                await self._ask()
            return self._is_lost()

    def wait_s(self, usual: float, *, without: float = 0.2) -> float:
        """How long to wait for what a broker answers, seconds: ``usual``, or hardly, where none answered
        just now."""
        return without if self._is_lost() else usual

    def answered(self) -> None:
        """A broker is there (again)."""
        self._lost_at = None

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_ASK_S):
                await self._check()
        except (DependencyUnavailable, TimeoutError):
            self._lost_at = time.monotonic()

    def _is_lost(self) -> bool:
        return self._lost_at is not None and time.monotonic() - self._lost_at < _REMEMBERED_S


async def stop_client(inner: Any, reach: Reach) -> BaseException | None:
    """Stop a client of aiokafka, in good order if that is possible; the error with which it stopped.

    A client that is stopped while its broker is away may be cancelled by itself (its fetcher does not
    expect to be stopped while it rests before a retry): that is its end, not ours.
    """
    stopping = asyncio.ensure_future(inner.stop())
    await asyncio.wait({stopping}, timeout=reach.wait_s(_AT_ONCE_S))
    if not stopping.done() and not await reach.lost():
        await asyncio.wait({stopping}, timeout=_STOP_WAIT_S)
    failure = None if not stopping.done() or stopping.cancelled() else stopping.exception()
    if stopping.done() and not stopping.cancelled() and failure is None:
        return None
    stopping.cancel()
    # What is left of it would go on looking for the broker.
    network = getattr(inner, "_client", None) or getattr(inner, "client", None)
    if network is not None:
        await asyncio.wait({asyncio.ensure_future(network.close())}, timeout=reach.wait_s(_STOP_WAIT_S))
    return failure
