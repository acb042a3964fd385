"""Finds the executions that nobody works on and runs each in a task of its own.

An execution that this process started, one that it left at its last life and one that another
executor lost are all the same: a live row without a live lease.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from chassis.clock import Clock
from chassis.errors import DependencyUnavailable, Fenced
from chassis.failpoints import Failpoints
from chassis.lifecycle import until_set
from chassis.postgres import UNAVAILABLE
from services.executor.domain.execution import Entry
from services.executor.domain.reading_back import NotUnderstood
from services.executor.handlers.execution_log import ExecutionLog, Interrupted
from services.executor.handlers.execution_run import ExecutionRunner
from services.executor.handlers.ports import Executions

log = structlog.get_logger(__name__)
_MAX_DELAY_S = 60.0
_MAX_UNEXPECTED = 10


@dataclass(slots=True)
class _Trouble:
    """An execution that ended with an error, and when it is tried again.

    ``times`` spaces the attempts out; only ``unexpected`` errors speak for giving the execution up:
    a database that was away ten times is no reason to end a rollback.
    """

    error: str
    times: int
    unexpected: int
    again: float


class Dispatcher:
    """Runs every live execution that is free, until it is stopped."""

    def __init__(
        self,
        executions: Executions,
        runner: ExecutionRunner,
        clock: Clock,
        failpoints: Failpoints,
        triggers_read: asyncio.Event,
        *,
        grace_s: float,
    ) -> None:
        """``grace_s`` is how long a stop waits for the steps that are under way."""
        self._executions = executions
        self._runner = runner
        self._clock = clock
        self._failpoints = failpoints
        self._triggers_read = triggers_read
        self._grace_s = grace_s
        self._wake = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._troubles: dict[str, _Trouble] = {}

    def wake(self) -> None:
        """There is something new to run."""
        self._wake.set()

    def is_running(self) -> bool:
        """Whether this process works on an execution now."""
        return bool(self._running)

    async def probe(self) -> str | None:
        """What is wrong with the executions, for the readiness endpoint."""
        if not self._troubles:
            return None
        return "; ".join(f"{name}: {trouble.error}" for name, trouble in self._troubles.items())

    async def run(self, stop: asyncio.Event) -> None:
        """Dispatch until ``stop``; then let the steps that are under way end, and give the leases back."""
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    await self._dispatch(stop)
                except UNAVAILABLE as error:
                    log.warning("executions not dispatched: no database", error=_words(error))
                await until_set(self._wake, stop, timeout_s=min(self._executions.lease_s / 4, 1.0))
        finally:
            await self._end_all()

    async def _dispatch(self, stop: asyncio.Event) -> None:
        orphans = await self._executions.orphans(triggers_read=self._triggers_read.is_set())
        for execution_id in self._troubles.keys() - self._running.keys() - set(orphans):
            # Another executor works on it, or has ended it.
            del self._troubles[execution_id]
        for execution_id in orphans:
            self._start(execution_id, stop)

    def _start(self, execution_id: str, stop: asyncio.Event) -> None:
        trouble = self._troubles.get(execution_id)
        if execution_id in self._running or (trouble is not None and self._clock.monotonic() < trouble.again):
            return
        task = asyncio.create_task(self._run(execution_id, stop), name=execution_id)
        self._running[execution_id] = task
        task.add_done_callback(lambda _: self._over(execution_id))

    def _over(self, execution_id: str) -> None:
        self._running.pop(execution_id, None)
        # The end of one may be the beginning of another (on_failure).
        self._wake.set()

    async def _run(self, execution_id: str, stop: asyncio.Event) -> None:
        try:
            await self._work(execution_id, stop)
        except Fenced as error:
            # By our own database: it is somebody else's now, and no trouble of ours. What a target
            # refuses comes to an end in the journal.
            log.warning("rollback left to its new owner", execution=execution_id, why=str(error))
        except Interrupted:
            log.info("rollback left for the next owner", execution=execution_id)
        except NotUnderstood as error:
            # A newer release began it, and an executor of that release has to end it. Readiness says so
            # until one does.
            log.warning("rollback left to a newer release", execution=execution_id, why=str(error))
            self._trouble(execution_id, error)
        except (*UNAVAILABLE, DependencyUnavailable) as error:
            # What was written last may or may not be there: only the journal knows.
            log.warning("rollback waits for the database", execution=execution_id, error=str(error))
            self._trouble(execution_id, error)
        except Exception as error:
            # One execution must not take the others with it; this one is tried again, and
            # readiness says so meanwhile.
            log.exception("rollback stopped by an unexpected error", execution=execution_id)
            if self._trouble(execution_id, error, unexpected=True) >= _MAX_UNEXPECTED:
                await self._abandon(execution_id, stop, error)
        else:
            self._troubles.pop(execution_id, None)

    async def _abandon(self, execution_id: str, stop: asyncio.Event, error: Exception) -> None:
        """What fails in the same way each time is ended, and a person called: nobody waits for it."""
        try:
            async with self._taken(execution_id, stop) as taken:
                if taken is not None:
                    run, entries = taken
                    await self._runner.abandon(run, entries, f"{_MAX_UNEXPECTED} times: {_words(error)}")
                    self._troubles.pop(execution_id, None)
        except (*UNAVAILABLE, DependencyUnavailable, Fenced) as problem:
            log.warning("rollback not ended yet", execution=execution_id, error=_words(problem))
        except Exception:
            log.exception("rollback cannot be ended", execution=execution_id)

    async def _work(self, execution_id: str, stop: asyncio.Event) -> None:
        async with self._taken(execution_id, stop) as taken:
            if taken is not None:
                run, entries = taken
                await self._runner.run(run, entries)

    @contextlib.asynccontextmanager
    async def _taken(
        self, execution_id: str, stop: asyncio.Event
    ) -> AsyncIterator[tuple[ExecutionLog, list[Entry]] | None]:
        async with self._executions.take(execution_id) as held:
            if held is None:
                yield None
                return
            run = ExecutionLog(
                execution=held.execution,
                claim=held.claim,
                writer=held.writer,
                clock=self._clock,
                stop=stop,
                failpoints=self._failpoints,
                usual_s=held.usual_s,
            )
            yield run, held.entries

    def _trouble(self, execution_id: str, error: BaseException, *, unexpected: bool = False) -> int:
        """Keep it from being tried again at once; how many unexpected errors it has had by now."""
        known = self._troubles.get(execution_id)
        times = known.times + 1 if known is not None else 1
        strange = (known.unexpected if known is not None else 0) + unexpected
        # Bounded before it is raised: a power of a thousand is no number any more.
        delay = min(2.0 ** min(times - 1, 16), _MAX_DELAY_S)
        again = self._clock.monotonic() + delay
        self._troubles[execution_id] = _Trouble(_words(error), times, strange, again)
        return strange

    async def _end_all(self) -> None:
        tasks = list(self._running.values())
        if not tasks:
            return
        try:
            _, late = await asyncio.wait(tasks, timeout=self._grace_s)
            for task in late:
                log.warning("step cut by the stop", execution=task.get_name(), after_s=self._grace_s)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
