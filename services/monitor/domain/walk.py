"""Steps one trigger through the verdicts of a block of seconds.

Most seconds change nothing (inactive and clear, or firing and breaching): those are passed
over without a call, so that the scalar state machine costs nothing where nothing happens.
"""

from __future__ import annotations

import math

from services.monitor.domain.outcomes import Outcome, evidence_between
from services.monitor.domain.phases import (
    ANNOUNCE_EVERY_S,
    Finding,
    Reason,
    State,
    Step,
    Verdict,
    step,
)
from services.monitor.domain.series import Instance
from services.monitor.domain.windows import NONE, Deciding, Findings

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
        self._row = row
        self._findings = findings
        self._first = first
        self._partition = partition
        self._verdicts: list[int] = findings.verdicts(row).tolist()

    def outcomes(self) -> list[Outcome]:
        """Step through the block; the instance's state is moved on."""
        instance, told = self._instance, []
        begin = instance.state
        column = self._start()
        while (column := self._next_event(column)) < len(self._verdicts):
            outcome = self._step(column)
            if outcome is not None:
                told.append(outcome)
            column += 1
        instance.changed = instance.changed or instance.state != begin
        return told

    def _start(self) -> int:
        born = self._instance.born
        if not self._instance.watches_absence:
            return 0
        return len(self._verdicts) if born is None else max(0, born - self._first)

    def _next_event(self, column: int) -> int:
        """The next column that can change the state or is due for an announcement."""
        state = self._instance.state
        if state.phase == "inactive":
            return self._next_start(column)
        if state.phase == "pending" or state.cleared is not None or self._instance.rule.terms.quorum:
            return column
        due = state.announced + ANNOUNCE_EVERY_S - self._first
        verdicts, end = self._verdicts, len(self._verdicts)
        while column < end and column < due and verdicts[column] >= Verdict.BETWEEN:
            column += 1
        return column

    def _next_start(self, column: int) -> int:
        verdicts, end = self._verdicts, len(self._verdicts)
        absence = self._instance.watches_absence
        while column < end:
            verdict = verdicts[column]
            if verdict == Verdict.BREACH or (absence and verdict == Verdict.NO_DATA):
                break
            column += 1
        return column

    def _step(self, column: int) -> Outcome | None:
        instance, row, findings = self._instance, self._row, self._findings
        verdict = _VERDICTS[self._verdicts[column]]
        before = instance.state
        standing = 0
        if before.phase == "inactive" and verdict is Verdict.BREACH:
            standing = findings.standing(row, column)
        finding = Finding(verdict, int(findings.fresh(row)[column]), standing)
        at = self._first + column
        done = step(instance.rule.terms, before, finding, at)
        instance.state = done.state
        return None if done.reason is None else self._outcome(before, done, done.reason, column)

    def _outcome(self, before: State, done: Step, reason: Reason, column: int) -> Outcome:
        deciding = None
        values: tuple[float | None, ...] = (None,)
        if self._verdicts[column] != Verdict.NO_DATA:
            deciding = self._findings.deciding(self._row, column)
            value = self._findings.value(self._row, column)
            # Where several conditions decide, one may have no value of its own.
            values = (value if math.isfinite(value) else None, *self._findings.further(column))
        at = self._first + column
        return outcome_of(self._instance, self._partition, before, done, reason, at, values, deciding)


def outcome_of(
    instance: Instance,
    partition: int,
    before: State,
    done: Step,
    reason: Reason,
    at: int,
    values: tuple[float | None, ...],
    deciding: Deciding | None,
) -> Outcome:
    """What a step at second ``at`` has to tell; ``values``, one for each of the rule's checks, and
    ``deciding`` are None without data.
    The instance remembers between which offsets the evidence of its breach is."""
    begins = before.phase == "inactive"
    if begins:
        instance.first_offset = instance.last_offset = NONE
    if deciding is not None:
        note_evidence(instance, deciding)
    known = done.state if begins else before
    samples = max(known.samples, done.state.samples)
    return Outcome(
        at=at,
        rule=instance.rule,
        of=instance.of,
        before=before.phase,
        after=done.state.phase,
        reason=reason,
        kind=done.kind,
        value=values[0],
        began=known.began,
        evidence=evidence_between(partition, instance.first_offset, instance.last_offset, samples),
        further=values[1:],
    )


def note_evidence(instance: Instance, deciding: Deciding) -> None:
    """The evidence of a breach reaches from the first samples that decided something to the last."""
    if instance.first_offset == NONE:
        instance.first_offset = deciding.first_offset
    instance.last_offset = deciding.last_offset
