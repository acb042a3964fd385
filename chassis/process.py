"""The end of a process: whatever its libraries leave behind must not keep it alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)
T = TypeVar("T")
_LEFT_BEHIND_S = 3.0
_BETWEEN_CANCELS_S = 0.1


def run_to_its_end(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` in a new event loop, as ``asyncio.run`` does, and end its tasks within 3 s after it.

    ``asyncio.run`` cancels what is left once and then waits for it for ever. A library's task may
    swallow that one cancellation (Faust's commit does, when one is under way already).
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            loop.run_until_complete(_end_what_is_left())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


async def cancel_until_ended(
    tasks: Iterable[asyncio.Future[Any]], within_s: float
) -> set[asyncio.Future[Any]]:
    """Cancel tasks, again and again where they go on; those that have not ended within ``within_s``."""
    left = {task for task in tasks if not task.done()}
    deadline = time.monotonic() + within_s
    while left and time.monotonic() < deadline:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_BETWEEN_CANCELS_S)
    return left


async def _end_what_is_left() -> None:
    deadline = time.monotonic() + _LEFT_BEHIND_S
    left = asyncio.all_tasks() - {asyncio.current_task()}
    while left and (remaining_s := deadline - time.monotonic()) > 0:
        # What is cancelled may begin something new.
        await cancel_until_ended(left, remaining_s)
        left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        log.error("a task outlives its process", task=repr(task))
