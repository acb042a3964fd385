"""Waiting for a database that is away: what was read stays unacknowledged meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from chassis.postgres import UNAVAILABLE

log = structlog.get_logger(__name__)
T = TypeVar("T")
_WAIT_S = 0.5


async def once_there(work: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T:
    """What ``work`` gives, tried again while the database is away. Raises its error once ``stop`` is set."""
    while True:
        try:
            return await work()
        except UNAVAILABLE as error:
            if stop.is_set():
                raise
            log.warning("the database is away", error=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _WAIT_S)
