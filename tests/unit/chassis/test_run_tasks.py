"""A service's tasks live and end together."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from chassis import lifecycle
from chassis.lifecycle import EndedEarly, run_tasks, stop_on_signals


class Broken(Exception):
    pass


async def until(stop: asyncio.Event, ended: list[str], name: str) -> None:
    await stop.wait()
    ended.append(name)


async def fail() -> None:
    raise Broken("by itself")


async def end() -> None:
    return


async def test_all_end_at_the_stop() -> None:
    stop, ended = asyncio.Event(), list[str]()
    running = asyncio.create_task(
        run_tasks({"a": until(stop, ended, "a"), "b": until(stop, ended, "b")}, stop)
    )
    stop.set()
    await running
    assert sorted(ended) == ["a", "b"]


async def test_a_failure_stops_the_others_and_is_raised() -> None:
    stop, ended = asyncio.Event(), list[str]()
    with pytest.raises(Broken, match="by itself"):
        await run_tasks({"a": until(stop, ended, "a"), "broken": fail()}, stop)
    assert ended == ["a"]
    assert stop.is_set()


async def test_a_task_that_ends_early_stops_the_others_and_is_named() -> None:
    stop, ended = asyncio.Event(), list[str]()
    with pytest.raises(EndedEarly, match=r"^short ended"):
        await run_tasks({"a": until(stop, ended, "a"), "short": end()}, stop)
    assert ended == ["a"]


async def test_a_task_that_does_not_stop_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_STOP_TIMEOUT_S", 0.05)
    stop, cancelled = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    stop.set()
    await run_tasks({"stubborn": stubborn()}, stop)
    assert cancelled.is_set()


async def test_a_failure_during_the_stop_is_raised() -> None:
    stop = asyncio.Event()

    async def fail_at_the_end() -> None:
        await stop.wait()
        raise Broken("while stopping")

    stop.set()
    with pytest.raises(Broken, match="while stopping"):
        await run_tasks({"a": fail_at_the_end()}, stop)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sets_the_stop(number: signal.Signals) -> None:
    async with stop_on_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), timeout=5)


async def test_a_second_interrupt_has_its_ordinary_effect() -> None:
    async with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(stop.wait(), timeout=5)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
