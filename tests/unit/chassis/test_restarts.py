"""A part is begun anew after errors that may pass, with a growing pause, and says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from chassis import restarts
from chassis.clock import ManualClock
from chassis.errors import PermanentError, TemporaryError
from chassis.lifecycle import EndedEarly
from chassis.restarts import LONGEST_PAUSE_S, Restarted, Started, pause_after
from tests.polling import eventually


async def well() -> str | None:
    return None


async def ill() -> str | None:
    return "has not polled"


@dataclass
class Part:
    """Fails as often as it is told to, then works until it is stopped."""

    errors: list[Exception] = field(default_factory=list)
    begun: int = 0
    told: list[bool] = field(default_factory=list)
    clock: ManualClock = field(default_factory=lambda: ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))
    opens: asyncio.Event = field(default_factory=asyncio.Event)
    probe: Callable[[], object] = well

    def __post_init__(self) -> None:
        self.opens.set()

    async def work(self, stop: asyncio.Event, started: Started) -> None:
        self.begun += 1
        await self.opens.wait()
        if self.errors:
            raise self.errors.pop(0)
        started(self.probe)  # type: ignore[arg-type]
        await stop.wait()

    def restarted(self) -> Restarted:
        return Restarted(
            "part",
            self.work,
            clock=self.clock,
            may_pass=lambda error: isinstance(error, TemporaryError),
            told=self.told.append,
        )


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "FIRST_PAUSE_S", 0.01)


async def test_it_is_begun_anew_until_it_works() -> None:
    part, stop = Part([TemporaryError("away")] * 3), asyncio.Event()
    restarted = part.restarted()
    assert await restarted.probe() == "still starting"
    running = asyncio.create_task(restarted.run(stop))

    async def works() -> bool:
        return await restarted.probe() is None

    await eventually(works)
    stop.set()
    await running
    assert part.begun == 4
    assert part.told == [False, False, False, True]


async def test_what_is_wrong_is_told_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "FIRST_PAUSE_S", 30.0)
    part, stop = Part([TemporaryError("away")]), asyncio.Event()
    restarted = part.restarted()
    running = asyncio.create_task(restarted.run(stop))

    async def is_told() -> bool:
        return await restarted.probe() == "TemporaryError: away (failure 1; begun anew 30 s after it)"

    await eventually(is_told)
    # The stop does not wait for the pause.
    stop.set()
    await asyncio.wait_for(running, 5)


async def test_a_part_that_works_is_asked_itself() -> None:
    part, stop = Part(probe=ill), asyncio.Event()
    restarted = part.restarted()
    running = asyncio.create_task(restarted.run(stop))

    async def is_told() -> bool:
        return await restarted.probe() == "has not polled"

    await eventually(is_told)
    stop.set()
    await running


async def test_an_error_that_does_not_pass_is_raised() -> None:
    part = Part([PermanentError("wrong")])
    with pytest.raises(PermanentError, match="wrong"):
        await part.restarted().run(asyncio.Event())


async def test_work_that_ends_by_itself_is_an_error() -> None:
    async def work(_stop: asyncio.Event, started: Started) -> None:
        started(well)

    restarted = Restarted("part", work, clock=Part().clock, may_pass=lambda _: False, told=lambda _: None)
    with pytest.raises(EndedEarly, match="part ended"):
        await restarted.run(asyncio.Event())


async def test_a_stop_while_it_is_opened_cancels_that() -> None:
    part, stop = Part(), asyncio.Event()
    part.opens.clear()
    running = asyncio.create_task(part.restarted().run(stop))

    async def is_opening() -> bool:
        return part.begun == 1

    await eventually(is_opening)
    stop.set()
    await asyncio.wait_for(running, 5)
    assert part.told == []


async def test_who_has_worked_for_long_begins_with_the_shortest_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures: list[int] = []

    def pause(number: int) -> float:
        failures.append(number)
        return 0.01

    monkeypatch.setattr(restarts, "pause_after", pause)
    part, stop, fails = Part([TemporaryError("away")] * 3), asyncio.Event(), asyncio.Event()

    async def work(stop: asyncio.Event, started: Started) -> None:
        if part.errors:
            raise part.errors.pop(0)
        started(well)
        part.begun += 1
        await (fails if part.begun == 1 else stop).wait()
        if part.begun == 1:
            raise TemporaryError("away again")

    restarted = Restarted("part", work, clock=part.clock, may_pass=lambda _: True, told=part.told.append)
    running = asyncio.create_task(restarted.run(stop))

    async def has_begun(times: int) -> bool:
        return part.begun == times

    await eventually(lambda: has_begun(1))
    part.clock.advance(timedelta(seconds=61))
    fails.set()
    await eventually(lambda: has_begun(2))
    stop.set()
    await running
    assert failures == [1, 2, 3, 1]


def test_pauses_grow_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "FIRST_PAUSE_S", 1.0)
    assert [pause_after(failures) for failures in (1, 2, 3, 6)] == [1, 2, 4, 32]
    assert pause_after(7) == pause_after(10_000) == LONGEST_PAUSE_S
