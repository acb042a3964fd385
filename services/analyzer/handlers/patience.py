"""The one place where the analyzer tries again: while Kafka or Postgres is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from chassis.errors import DependencyUnavailable
from chassis.postgres import UNAVAILABLE

log = structlog.get_logger(__name__)
T = TypeVar("T")
PASSING: tuple[type[BaseException], ...] = (*UNAVAILABLE, DependencyUnavailable)
"""What is wrong with a peer now, and may be right in a while."""

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0


async def patiently(work: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T:
    """Do ``work`` until it succeeds, and return what it gave; what is not a peer's absence is raised at once.

    Raises the last error where ``stop`` is set meanwhile.
    """
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            return await work()
        except PASSING as error:
            if stop.is_set():
                raise
            log.warning("a dependency is away", error=f"{type(error).__name__}: {error}", again_in_s=wait_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait_s)
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


async def periodically(work: Callable[[], Awaitable[None]], every_s: float, stop: asyncio.Event) -> None:
    """Do ``work`` every so many seconds until ``stop`` is set; a peer's absence skips a turn."""
    while not stop.is_set():
        try:
            await work()
        except PASSING as error:
            log.warning("a dependency is away", error=f"{type(error).__name__}: {error}", again_in_s=every_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), every_s)
