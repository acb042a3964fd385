"""Steps one trigger through the verdicts of a block of seconds.

Most seconds change nothing: an inactive trigger stays so while nothing breaches, a pending one
waits, a firing one goes on. They are passed over by whole runs of one verdict (see runs.py), so
that the state machine costs something only where something happens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.monitor.domain.engine.outcomes import Evidence, Outcome, evidence_between
from services.monitor.domain.engine.runs import after_run, next_event_in_run
from services.monitor.domain.engine.shelves import Instance
from services.monitor.domain.language.phases import (
    ANNOUNCE_EVERY_S,
    Finding,
    Phase,
    Reason,
    State,
    Step,
    Verdict,
    step,
)
from services.monitor.domain.measuring.windows import NONE, Deciding, Findings

_VERDICTS = tuple(Verdict)


def goes_on_firing(instance: Instance, last: int) -> bool:
    """Whether the seconds up to ``last``, none of them clear or without data, leave the instance as it
    is and tell nothing: what a walk through them would find, without the walk."""
    state = instance.state
    if instance.rule.terms.quorum is not None:
        return False
    return state.phase == "firing" and state.cleared is None and last < state.announced + ANNOUNCE_EVERY_S


class Walk:
    """One instance (``row`` of the findings) through the seconds from ``first`` on."""

    def __init__(self, instance: Instance, row: int, findings: Findings, first: int, partition: int) -> None:
        self._instance = instance
        self._terms = instance.rule.terms
        self._row = row
        self._findings = findings
        self._first = first
        self._partition = partition
        self._told: list[Told] = []

    def told(self) -> list[Told]:
        """Step through the block; the instance's state is moved on. What there is to tell lacks its
        values (see ``outcomes_of``)."""
        instance = self._instance
        begin = instance.state
        verdicts = self._findings.verdicts(self._row)
        start = self._start(len(verdicts))
        starts = [0, *(np.flatnonzero(verdicts[1:] != verdicts[:-1]) + 1).tolist()]
        for column, end in zip(starts, [*starts[1:], len(verdicts)], strict=True):
            if end > start:
                self._through(max(column, start), end, _VERDICTS[verdicts[column]])
        if instance.state != begin:
            instance.note_change()
        return self._told

    def _start(self, end: int) -> int:
        born = self._instance.born
        if not self._instance.watches_absence:
            return 0
        return end if born is None else max(0, born - self._first)

    def _through(self, column: int, end: int, verdict: Verdict) -> None:
        """Through the columns up to ``end`` (exclusive), which all have this verdict."""
        instance = self._instance
        starts = verdict is Verdict.BREACH or (verdict is Verdict.NO_DATA and instance.watches_absence)
        while column < end:
            if instance.state.phase == "inactive" and not starts:
                return
            event = self._event(column, end, verdict)
            if event > column:
                self._pass_over(column, min(event, end), verdict)
            if event < end:
                self._step(event, verdict)
            column = event + 1

    def _event(self, column: int, end: int, verdict: Verdict) -> int:
        """The next column at which the phase may change or something may be told."""
        state, terms = self._instance.state, self._terms
        by_absence = verdict is Verdict.NO_DATA and terms.no_data == "breach"
        if terms.quorum or state.phase == "inactive" or (state.phase == "pending" and by_absence):
            return column
        if state.phase == "pending" and verdict is Verdict.BREACH:
            return self._lasted(column, end, state)
        return min(end, next_event_in_run(terms, state, verdict, self._first + column) - self._first)

    def _lasted(self, column: int, end: int, state: State) -> int:
        """Where a breach has lasted, and counts enough samples, if it goes on; ``end`` if not before."""
        due = max(column, state.began + state.held + self._terms.lasting - self._first)
        if due >= end or state.samples >= self._terms.min_samples:
            return min(due, end)
        counted = state.samples + np.cumsum(self._findings.fresh(self._row)[column:end])
        enough = column + int(np.searchsorted(counted, self._terms.min_samples))
        return min(max(due, enough), end)

    def _pass_over(self, column: int, end: int, verdict: Verdict) -> None:
        """Move the state on over columns before the next event."""
        instance = self._instance
        state = instance.state
        if state.phase == "pending" and verdict is Verdict.BREACH:
            fresh = int(self._findings.fresh(self._row)[column:end].sum())
            instance.state = state._replace(samples=state.samples + fresh)
        else:
            instance.state = after_run(self._terms, state, verdict, end - column)

    def _step(self, column: int, verdict: Verdict) -> None:
        instance, row, findings = self._instance, self._row, self._findings
        before = instance.state
        standing = fresh = 0
        # Only a breach, or what is taken for one, that has begun counts them.
        if before.phase == "pending" and verdict in (Verdict.BREACH, Verdict.NO_DATA):
            fresh = int(findings.fresh(row)[column])
        if before.phase == "inactive" and verdict is Verdict.BREACH:
            standing = findings.standing(row, column)
        finding = Finding(verdict, fresh, standing, too_late=findings.is_too_late(column))
        done = step(self._terms, before, finding, self._first + column)
        instance.state = done.state
        if done.reason is not None:
            self._told.append(self._tell(before, done, done.reason, column, verdict))

    def _tell(self, before: State, done: Step, reason: Reason, column: int, verdict: Verdict) -> Told:
        has_value = verdict is not Verdict.NO_DATA and not self._findings.is_too_late(column)
        deciding = self._findings.deciding(self._row, column) if has_value else None
        told = told_of(self._instance, self._partition, before, done, reason, self._first + column, deciding)
        if has_value:
            told.row, told.column = self._row, column
        return told


@dataclass(slots=True)
class Told:
    """What a step at second ``at`` has to tell, but for its values: those of ``row`` at ``column``, if
    there are any."""

    instance: Instance
    at: int
    before: Phase
    done: Step
    reason: Reason
    began: int
    evidence: Evidence | None
    row: int = NONE
    column: int = NONE

    def outcome(self, values: tuple[float | None, ...]) -> Outcome:
        """With the values, one for each of the rule's checks; None without data."""
        return Outcome(
            at=self.at,
            rule=self.instance.rule,
            of=self.instance.of,
            before=self.before,
            after=self.done.state.phase,
            reason=self.reason,
            kind=self.done.kind,
            value=values[0],
            began=self.began,
            evidence=self.evidence,
            further=values[1:],
            baselines=self.instance.figures,
        )


def outcomes_of(told: Sequence[Told], findings: Findings) -> list[Outcome]:
    """With the values, which are read together: one by one each would cost as much as all of them."""
    due = [each for each in told if each.column != NONE]
    values = findings.values_at([each.row for each in due], [each.column for each in due])
    found = iter(values)
    outcomes = []
    for each in told:
        if each.column == NONE:
            outcomes.append(each.outcome((None,)))
            continue
        value = next(found)
        # Where several conditions decide, one may have no value of its own.
        first = value if math.isfinite(value) else None
        outcomes.append(each.outcome((first, *findings.further(each.column))))
    return outcomes


def told_of(
    instance: Instance,
    partition: int,
    before: State,
    done: Step,
    reason: Reason,
    at: int,
    deciding: Deciding | None,
) -> Told:
    """What a step at second ``at`` has to tell; ``deciding`` is None without data.

    The instance remembers between which offsets the evidence of its breach is.
    """
    begins = before.phase == "inactive"
    if begins:
        instance.first_offset = instance.last_offset = NONE
    if deciding is not None:
        note_evidence(instance, deciding)
    known = done.state if begins else before
    samples = max(known.samples, done.state.samples)
    evidence = evidence_between(partition, instance.first_offset, instance.last_offset, samples)
    return Told(instance, at, before.phase, done, reason, known.began, evidence)


def note_evidence(instance: Instance, deciding: Deciding) -> None:
    """The evidence of a breach reaches from the first samples that decided something to the last."""
    if instance.first_offset == NONE:
        instance.first_offset = deciding.first_offset
    instance.last_offset = deciding.last_offset
