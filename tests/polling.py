"""Waiting for what other processes do, without guessing how long it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import psutil


def poll_until(condition: Callable[[], object], timeout_s: float = 15.0, what: str = "it") -> None:
    """Wait until ``condition`` holds; fails the test when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.02)


async def eventually(
    condition: Callable[[], Awaitable[object]], timeout_s: float = 15.0, what: str = "it"
) -> None:
    """Ask until ``condition`` holds; fails the test when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
