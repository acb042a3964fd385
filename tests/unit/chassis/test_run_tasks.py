"""A service's tasks live and end together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

from chassis import lifecycle
from chassis.errors import DependencyUnavailable
from chassis.kafka_stop import Reach
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


@pytest.mark.parametrize("answers", [True, False])
async def test_who_waits_for_a_broker_is_waited_for_as_long_as_one_answers(
    answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_AT_ONCE_S", 0.01)
    monkeypatch.setattr(lifecycle, "_NO_BROKER_TIMEOUT_S", 0.05)
    stop, ended = asyncio.Event(), list[str]()

    async def check() -> None:
        if not answers:
            raise DependencyUnavailable("no answer")

    async def wait_for_a_broker() -> None:
        await asyncio.sleep(0.5)
        ended.append("written")

    stop.set()
    await run_tasks(
        {"writing": wait_for_a_broker(), "other": until(stop, ended, "other")}, stop, Reach(check)
    )
    assert ended == (["other", "written"] if answers else ["other"])


@pytest.mark.parametrize("answers", [True, False])
async def test_who_waits_for_no_broker_has_its_grace_and_what_follows_is_told(
    answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_AT_ONCE_S", 0.01)
    monkeypatch.setattr(lifecycle, "_NO_BROKER_TIMEOUT_S", 0.1)
    monkeypatch.setattr(lifecycle, "_STOP_TIMEOUT_S", 0.1)
    stop, quiet, ended = asyncio.Event(), asyncio.Event(), list[str]()

    async def check() -> None:
        if not answers:
            raise DependencyUnavailable("no answer")

    async def act() -> None:
        await stop.wait()
        await asyncio.sleep(0.5)
        ended.append("act")
        quiet.set()

    stop.set()
    tasks = {"act": act(), "tell": until(quiet, ended, "tell")}
    await run_tasks(tasks, stop, Reach(check), graces={"act": 0.6})
    assert ended == ["act", "tell"]


async def test_a_grace_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_STOP_TIMEOUT_S", 0.05)
    monkeypatch.setattr(lifecycle, "_NO_BROKER_TIMEOUT_S", 0.05)
    monkeypatch.setattr(lifecycle, "_AFTER_GRACE_S", 0.05)
    stop = asyncio.Event()
    stop.set()
    async with asyncio.timeout(5):
        await run_tasks({"act": asyncio.sleep(600)}, stop, graces={"act": 0.05})


@pytest.mark.parametrize("answers", [True, False])
async def test_a_lost_broker_is_no_failure_of_a_stop(answers: bool) -> None:
    stop = asyncio.Event()

    async def check() -> None:
        if not answers:
            raise DependencyUnavailable("no answer")

    async def commit_at_the_end() -> None:
        await stop.wait()
        raise DependencyUnavailable("not committed")

    stop.set()
    with contextlib.nullcontext() if not answers else pytest.raises(DependencyUnavailable):
        await run_tasks({"a": commit_at_the_end()}, stop, Reach(check))


async def test_without_a_stop_a_lost_broker_is_a_failure() -> None:
    async def check() -> None:
        raise DependencyUnavailable("no answer")

    async def commit() -> None:
        raise DependencyUnavailable("not committed")

    with pytest.raises(DependencyUnavailable, match="not committed"):
        await run_tasks({"a": commit()}, asyncio.Event(), Reach(check))


async def test_a_failure_during_the_stop_is_raised() -> None:
    stop = asyncio.Event()

    async def fail_at_the_end() -> None:
        await stop.wait()
        raise Broken("while stopping")

    stop.set()
    with pytest.raises(Broken, match="while stopping"):
        await run_tasks({"a": fail_at_the_end()}, stop)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_tasks(number: signal.Signals) -> None:
    ended = list[str]()
    async with stop_on_signals() as stop:

        async def interrupt() -> None:
            os.kill(os.getpid(), number)
            await until(stop, ended, "a")

        await run_tasks({"a": interrupt()}, stop)
        ended.append("after the tasks")
    assert ended == ["a", "after the tasks"]


async def test_a_signal_ends_a_start_that_waits() -> None:
    """Whoever waits for a broker must not have to be killed."""
    left = list[str]()

    async def wait_for_a_broker() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            left.append("cleaned up")

    async with stop_on_signals() as stop:
        await wait_for_a_broker()
        left.append("never reached")
    assert stop.is_set()
    assert left == ["cleaned up"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_from_elsewhere_is_not_swallowed() -> None:
    async def start() -> None:
        async with stop_on_signals():
            await asyncio.Event().wait()

    starting = asyncio.create_task(start())
    await asyncio.wait([starting], timeout=0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_a_second_interrupt_has_its_ordinary_effect() -> None:
    async with stop_on_signals() as stop:

        async def interrupt() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            await stop.wait()
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

        await run_tasks({"a": interrupt()}, stop)


@pytest.mark.parametrize("asked", [True, False])
async def test_a_lost_database_is_no_failure_of_a_stop(asked: bool) -> None:
    stop = asyncio.Event()

    async def write_at_the_end() -> None:
        if asked:
            await stop.wait()
        raise ConnectionRefusedError("no database")

    if asked:
        stop.set()
    with contextlib.nullcontext() if asked else pytest.raises(ConnectionRefusedError):
        await run_tasks({"a": write_at_the_end()}, stop)


async def test_a_task_that_outlives_its_cancellation_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "_STOP_TIMEOUT_S", 0.02)
    monkeypatch.setattr(lifecycle, "_CANCELLED_TIMEOUT_S", 0.05)
    stop, released = asyncio.Event(), asyncio.Event()

    async def deaf() -> None:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    stop.set()
    async with asyncio.timeout(5):
        await run_tasks({"deaf": deaf()}, stop)
    released.set()
