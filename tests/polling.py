"""Waiting for what other processes do, without guessing how long it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psutil

T = TypeVar("T")


def poll_until(condition: Callable[[], object], timeout_s: float = 30.0, what: str = "it") -> None:
    """Wait until ``condition`` holds; fails the test when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.02)


async def eventually(
    condition: Callable[[], Awaitable[object]], timeout_s: float = 60.0, what: str = "it"
) -> None:
    """Ask until ``condition`` holds; fails the test when it does not in time."""
    await until(condition, bool, timeout_s=timeout_s, what=what)


async def until(
    ask: Callable[[], Awaitable[T]],
    holds: Callable[[T], object],
    *,
    timeout_s: float = 60.0,
    every_s: float = 0.02,
    what: str = "it",
) -> T:
    """The answer of ``ask``, once it ``holds``; not in time, the test fails with the last answer."""
    deadline = time.monotonic() + timeout_s
    while not holds(answer := await ask()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s: {answer}"
        await asyncio.sleep(every_s)
    return answer


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped the process (SIGSTOP, the failpoint ``freeze``)."""
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
