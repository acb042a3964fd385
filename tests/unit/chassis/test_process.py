"""A process ends, whatever its libraries leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from chassis import process
from chassis.process import cancel_until_ended, run_to_its_end

_kept: list[asyncio.Task[None]] = []
"""The loop itself keeps its tasks no longer than somebody waits for them."""


def _begin(work: Coroutine[Any, Any, None], name: str | None = None) -> None:
    _kept.append(asyncio.create_task(work, name=name))


async def _swallowing(cancellations: int, seen: list[str]) -> None:
    """Goes on after so many cancellations."""
    for _ in range(cancellations):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    try:
        await asyncio.Event().wait()
    finally:
        seen.append("ended")


def test_returns_what_main_returns() -> None:
    async def main() -> int:
        return 7

    assert run_to_its_end(main()) == 7


def test_raises_what_main_raises_and_ends_its_tasks() -> None:
    seen: list[str] = []

    async def main() -> None:
        _begin(_swallowing(0, seen))
        await asyncio.sleep(0)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_to_its_end(main())
    assert seen == ["ended"]


def test_ends_a_task_that_swallows_its_first_cancellations() -> None:
    seen: list[str] = []

    async def main() -> None:
        _begin(_swallowing(3, seen))
        await asyncio.sleep(0)

    run_to_its_end(main())
    assert seen == ["ended"]


def test_ends_a_task_that_begins_another_when_it_is_cancelled() -> None:
    seen: list[str] = []

    async def beginning() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            _begin(_swallowing(1, seen))

    async def main() -> None:
        _begin(beginning())
        await asyncio.sleep(0)

    run_to_its_end(main())
    assert seen == ["ended"]


def test_ends_though_a_task_never_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "_LEFT_BEHIND_S", 0.3)
    gone: list[str] = []

    async def main() -> None:
        _begin(_swallowing(1000, gone), name="stubborn")
        await asyncio.sleep(0)

    began = time.monotonic()
    run_to_its_end(main())
    assert time.monotonic() - began < 2
    assert gone == []
    assert "stubborn" in capsys.readouterr().out


async def test_says_what_has_not_ended() -> None:
    seen: list[str] = []
    willing = asyncio.create_task(_swallowing(0, seen))
    stubborn = asyncio.create_task(_swallowing(2, seen))
    await asyncio.sleep(0)
    assert await cancel_until_ended([willing, stubborn], 0.05) == {stubborn}
    assert await cancel_until_ended([willing, stubborn], 5) == set()
