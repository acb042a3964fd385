"""A part of a service that is begun anew after an error that may pass, while the other parts go on.

Where one part's failure must not end the whole (a source of metrics that cannot be read), or where
the peer itself has gone away for longer than its client bears (a broker), the part is opened again
with a growing pause. Meanwhile ``probe`` says what is wrong, and each restart is counted and logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from chassis.clock import Clock
from chassis.lifecycle import EndedEarly, Probe, until_set

log = structlog.get_logger(__name__)
Started = Callable[[Probe], None]
Work = Callable[[asyncio.Event, Started], Awaitable[None]]
"""Opens what it needs, calls ``Started`` with a probe of that, and works until the event is set."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
SETTLED_AFTER_S = 60.0
"""Who has worked for so long begins with the shortest pause again."""


def pause_after(failures: int) -> float:
    """Seconds to rest after so many failures in a row (from 1)."""
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 16)))


class Restarted:
    """Runs ``work`` again and again. ``may_pass`` says of an error whether to go on after it; any other
    error is raised. ``told`` is called with whether the part works now, at each change."""

    def __init__(
        self,
        name: str,
        work: Work,
        *,
        clock: Clock,
        may_pass: Callable[[Exception], bool],
        told: Callable[[bool], None],
    ) -> None:
        self._name = name
        self._work = work
        self._clock = clock
        self._may_pass = may_pass
        self._told = told
        self._problem: str | None = "still starting"
        self._inner: Probe | None = None
        self._failures = 0
        self._started_at: float | None = None

    async def probe(self) -> str | None:
        """What is wrong with the part now, None while it works."""
        return await self._inner() if self._problem is None and self._inner is not None else self._problem

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set. Raises EndedEarly if the work ends by itself."""
        while not stop.is_set():
            try:
                await self._once(stop)
            except Exception as error:
                # Which errors may pass is for the owner of the part to say.
                if not self._may_pass(error):
                    raise
                await until_set(stop, timeout_s=self._note_failure(error))

    async def _once(self, stop: asyncio.Event) -> None:
        self._started_at = None
        working = asyncio.ensure_future(self._work(stop, self._on_started))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done() and self._started_at is None:
                # Nobody looks at the stop while a peer that does not answer is waited for.
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
                return
            await working
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)
        if not stop.is_set():
            raise EndedEarly(f"{self._name} ended, though nobody had asked for a stop")

    def _on_started(self, probe: Probe) -> None:
        self._problem, self._inner = None, probe
        self._started_at = self._clock.monotonic()
        self._told(True)

    def _note_failure(self, error: Exception) -> float:
        """Note it, and say how long to rest."""
        if self._started_at is not None:
            settled = self._clock.monotonic() - self._started_at >= SETTLED_AFTER_S
            self._failures = 0 if settled else self._failures
        self._failures += 1
        pause = pause_after(self._failures)
        words = f"{type(error).__name__}: {error}"
        self._problem = f"{words} (failure {self._failures}; begun anew {pause:g} s after it)"
        self._told(False)
        log.error("begins anew", part=self._name, error=words, failures=self._failures, pause_s=pause)
        return pause
