"""Steps one trigger through the runs of a swept block: as ``Walk``, but from change to change.

Work is done where the verdict changes, where a sample counts for a breach, and where a timer of
the phase runs out; the seconds between cost nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.engine.runs import NEVER, after_run, next_event_in_run
from services.monitor.domain.engine.shelves import Instance
from services.monitor.domain.engine.sweep import Runs, Sweep
from services.monitor.domain.engine.walk import note_evidence, told_of
from services.monitor.domain.language.phases import Finding, Verdict, step

_VERDICTS = tuple(Verdict)


class SweepWalk:
    """One instance through the seconds up to ``last``; ``sweep`` is None where no second has data.

    Without ``announcing`` only changes of phase are told, not that a trigger is still firing.
    """

    def __init__(
        self,
        instance: Instance,
        sweep: Sweep | None,
        runs: Runs,
        last: int,
        partition: int,
        *,
        announcing: bool = True,
    ) -> None:
        self._instance = instance
        self._sweep = sweep
        self._at, self._verdict, self._fresh = runs.at, runs.verdict, runs.fresh
        self._last = last
        self._partition = partition
        self._announcing = announcing
        starts = {int(Verdict.BREACH)}
        if instance.watches_absence:
            starts.add(int(Verdict.NO_DATA))
        self._starts = [index for index, verdict in enumerate(self._verdict) if verdict in starts]
        self._breaks = [index for index, verdict in enumerate(self._verdict) if verdict < Verdict.BETWEEN]

    def outcomes(self) -> list[Outcome]:
        """Step through the block; the instance's state is moved on."""
        instance, told = self._instance, []
        begin = instance.state
        at = self._next(self._start())
        while at <= self._last:
            outcome = self._step(at)
            if outcome is not None:
                told.append(outcome)
            at = self._next(at + 1)
        if instance.state != begin:
            instance.note_change()
        return told

    def _start(self) -> int:
        born = self._instance.born
        if not self._instance.watches_absence:
            return self._at[0]
        return self._last + 1 if born is None else max(self._at[0], born)

    def _next(self, at: int) -> int:
        """The next second from ``at`` on that is to be stepped through; the state is moved on over
        those before it."""
        if at > self._last:
            return at
        instance, terms = self._instance, self._instance.rule.terms
        index = bisect_right(self._at, at) - 1
        while True:
            state = instance.state
            if state.phase == "inactive":
                return self._next_start(index, at)
            begins = self._at[index]
            if state.phase == "firing" and state.cleared is None and self._verdict[index] >= Verdict.BETWEEN:
                ends = self._begin_of(self._break_from(index))
            elif at == begins:
                return at
            else:
                ends = self._begin_of(index + 1)
            verdict = _VERDICTS[self._verdict[index]]
            event = next_event_in_run(terms, state, verdict, at)
            until = min(event, ends, self._last + 1)
            instance.state = after_run(terms, state, verdict, until - at)
            if event <= min(ends - 1, self._last) or until > self._last:
                return until
            at = until
            index = bisect_right(self._at, at) - 1

    def _next_start(self, index: int, at: int) -> int:
        """Where an inactive trigger can begin to breach."""
        place = bisect_left(self._starts, index)
        return self._last + 1 if place == len(self._starts) else max(at, self._at[self._starts[place]])

    def _break_from(self, index: int) -> int:
        place = bisect_left(self._breaks, index)
        return len(self._at) if place == len(self._breaks) else self._breaks[place]

    def _begin_of(self, index: int) -> int:
        return self._at[index] if index < len(self._at) else NEVER

    def _step(self, at: int) -> Outcome | None:
        instance = self._instance
        index = bisect_right(self._at, at) - 1
        verdict = _VERDICTS[self._verdict[index]]
        before = instance.state
        fresh = self._fresh[index] if at == self._at[index] else 0
        standing = 0
        sweep = None if verdict is Verdict.NO_DATA else self._sweep
        if sweep is not None and before.phase == "inactive" and verdict is Verdict.BREACH:
            standing = sweep.standing(at, fresh)
        done = step(instance.rule.terms, before, Finding(verdict, fresh, standing), at)
        instance.state = done.state
        if done.reason is None:
            return None
        value, deciding = None, None
        is_told = self._announcing or done.state.phase != before.phase
        if sweep is not None:
            inside = sweep.inside_at(at)
            deciding = sweep.deciding(inside)
            if is_told:
                value = sweep.value(inside)
            else:
                note_evidence(instance, deciding)
        if not is_told:
            return None
        told = told_of(instance, self._partition, before, done, done.reason, at, deciding)
        return told.outcome((value,))
