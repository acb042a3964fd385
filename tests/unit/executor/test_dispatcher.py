"""What the dispatcher does with executions that cannot go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from chassis.errors import DependencyUnavailable, Fenced
from chassis.failpoints import Failpoints
from services.executor.domain.execution import Entry, Execution
from services.executor.domain.reading_back import NotUnderstood
from services.executor.handlers.dispatcher import Dispatcher
from services.executor.handlers.execution_log import ExecutionLog
from services.executor.handlers.execution_run import ExecutionRunner
from services.executor.handlers.ports import Claim, HeldExecution, Writer
from tests.one_step import EXECUTION

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


@dataclass
class LeapingClock:
    """A clock that leaps ten minutes at each look: every back-off is over."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        self.seconds += 600
        return self.seconds


@dataclass
class FrozenClock:
    """A clock that stands: no back-off is ever over."""

    def now(self) -> datetime:
        return START

    def monotonic(self) -> float:
        return 0.0


@dataclass
class Held:
    execution: Execution
    claim: Claim
    writer: Writer
    entries: list[Entry] = field(default_factory=list)
    usual_s: Mapping[str, float] = field(default_factory=dict)


@dataclass
class OneExecution:
    """One live execution that is always free, until ``gone`` says that somebody else has ended it."""

    gone: bool = False
    lease_s: float = 0.004
    looks: int = 0
    enough: int = 0
    looked: asyncio.Event = field(default_factory=asyncio.Event)

    async def orphans(self, *, triggers_read: bool) -> list[str]:
        self.looks += 1
        if self.looks >= self.enough:
            self.looked.set()
        return [] if self.gone else ["rb-1"]

    @contextlib.asynccontextmanager
    async def take(self, execution_id: str) -> AsyncIterator[HeldExecution | None]:
        nobody = cast("Claim", None)
        yield None if self.gone else Held(EXECUTION, nobody, cast("Writer", None))


@dataclass
class Failing:
    """A runner to which the same happens each time, after what happens to it ``first``."""

    error: Exception
    executions: OneExecution
    first: list[Exception] = field(default_factory=list)
    tried: int = 0
    abandoned: list[str] = field(default_factory=list)

    async def run(self, run: ExecutionLog, entries: list[Entry]) -> None:
        self.tried += 1
        if self.tried <= len(self.first):
            raise self.first[self.tried - 1]
        raise self.error

    async def abandon(self, run: ExecutionLog, entries: list[Entry], why: str) -> None:
        self.abandoned.append(why)
        self.executions.gone = True


def dispatcher(runner: Failing, executions: OneExecution, clock: LeapingClock | FrozenClock) -> Dispatcher:
    read = asyncio.Event()
    return Dispatcher(executions, cast("ExecutionRunner", runner), clock, Failpoints({}), read, grace_s=5)


async def run_until(made: Dispatcher, executions: OneExecution, *, looks: int) -> None:
    """Run the dispatcher until it has looked for executions so often."""
    stop = asyncio.Event()
    running = asyncio.create_task(made.run(stop))
    async with asyncio.timeout(60):
        executions.enough = looks
        executions.looked.clear()
        await executions.looked.wait()
    stop.set()
    await running


async def test_what_fails_in_the_same_way_each_time_is_ended_and_a_person_called() -> None:
    executions = OneExecution()
    runner = Failing(ValueError("a bug"), executions)
    made = dispatcher(runner, executions, LeapingClock())
    await run_until(made, executions, looks=40)

    assert runner.tried == 10
    assert runner.abandoned == ["10 times: ValueError: a bug"]
    assert await made.probe() is None


async def test_what_a_newer_release_began_is_left_to_it_and_readiness_says_so() -> None:
    executions = OneExecution()
    runner = Failing(NotUnderstood("playbook_not_understood: steps.0.zone"), executions)
    made = dispatcher(runner, executions, LeapingClock())
    await run_until(made, executions, looks=40)

    assert runner.tried > 10
    assert runner.abandoned == []
    assert await made.probe() == "rb-1: NotUnderstood: playbook_not_understood: steps.0.zone"
    executions.gone = True
    await run_until(made, executions, looks=executions.looks + 3)
    assert await made.probe() is None


async def test_what_passes_does_not_count_as_unexpected() -> None:
    executions = OneExecution()
    passing = [ConnectionResetError("no database"), DependencyUnavailable("no answer"), Fenced("newer")]
    runner = Failing(KeyError("a bug"), executions, first=passing * 4)
    made = dispatcher(runner, executions, LeapingClock())
    await run_until(made, executions, looks=60)

    assert runner.tried == 12 + 10
    assert runner.abandoned == ["10 times: KeyError: 'a bug'"]


async def test_what_passes_for_ever_is_never_given_up() -> None:
    executions = OneExecution()
    runner = Failing(ConnectionResetError("no database"), executions)
    made = dispatcher(runner, executions, LeapingClock())
    await run_until(made, executions, looks=60)

    assert runner.tried > 20
    assert runner.abandoned == []


async def test_what_somebody_else_has_taken_over_is_left_without_a_word() -> None:
    executions = OneExecution()
    runner = Failing(Fenced("another executor has taken it over"), executions)
    made = dispatcher(runner, executions, FrozenClock())
    await run_until(made, executions, looks=20)

    assert runner.tried > 10
    assert runner.abandoned == []
    assert await made.probe() is None


@pytest.mark.parametrize("error", [ValueError("a bug"), DependencyUnavailable("no answer")])
async def test_what_another_executor_has_ended_is_no_trouble_any_more(error: Exception) -> None:
    executions = OneExecution()
    runner = Failing(error, executions)
    made = dispatcher(runner, executions, FrozenClock())
    await run_until(made, executions, looks=3)
    assert await made.probe() == f"rb-1: {type(error).__name__}: {error}"

    executions.gone = True
    await run_until(made, executions, looks=6)
    assert await made.probe() is None


@dataclass
class Endless:
    """A runner in a step that does not end by itself."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False

    async def run(self, run: ExecutionLog, entries: list[Entry]) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_who_is_cancelled_while_it_waits_for_a_step_leaves_no_step_behind() -> None:
    runner, stop = Endless(), asyncio.Event()
    made = Dispatcher(
        OneExecution(),
        cast("ExecutionRunner", runner),
        FrozenClock(),
        Failpoints({}),
        asyncio.Event(),
        grace_s=5,
    )
    running = asyncio.create_task(made.run(stop))
    await runner.begun.wait()
    stop.set()
    await asyncio.wait({running}, timeout=0.05)
    assert not running.done(), "it gives the step a moment"
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert runner.cancelled
