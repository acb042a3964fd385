"""The engine: the transitions of one partition as a function of its log, rules and settings.

Live service, backtest and tests all feed it consecutive records in whatever portions they
come; what it answers does not depend on the portions. It reads no clock: only records move
time (see docs/states.md).

A sample counts from the first second that is evaluated after its record was read. For one
that is in time this is its own second; for a late one, the second after those already
evaluated. So a portion of the log is folded in by blocks of seconds, cut where late samples
become visible, and each block is evaluated at once in columns.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping

import numpy as np

from services.monitor.domain.engine.admission import Admitted, Overflow
from services.monitor.domain.engine.evaluation import BLOCK, Evaluation
from services.monitor.domain.engine.memory import Checkpoint, Remembered, state_key
from services.monitor.domain.engine.outcomes import Outcome, evidence_between
from services.monitor.domain.engine.prediction_checkpoint import PredictionCheckpoint
from services.monitor.domain.engine.releases import Release, Releases
from services.monitor.domain.engine.series import Series
from services.monitor.domain.engine.shelves import Instance, Shelf
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.phases import Phase
from services.monitor.domain.language.rules import Rule, rules_hash
from services.monitor.domain.measuring.columns import (
    NO_TIME,
    Columns,
    Pending,
    PendingPortions,
    ReleaseRead,
    second_of,
)
from services.monitor.domain.measuring.windows import Ints

REPEATED_WITHIN_S = 300
"""An announcement is repeated only for a second that is at most so far behind the watermark that
made it due: where time jumps, those in between tell nobody anything that the last ones do not."""
_NOT_EVALUATED = -1
_NEVER = 1 << 62
Jumps = list[tuple[int, int]]
"""In order: the second evaluated before a record, and the first one after it whose repeated
announcements are told."""


class PartitionEngine:
    """All triggers on one partition of the metrics topic."""

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        allowed_lateness: float,
        partition: int = 0,
        sweeping: bool = False,
        announcing: bool = True,
        watched: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        """``allowed_lateness`` in seconds. ``sweeping`` is for recorded samples that are far apart:
        seconds at which nothing can change are passed over. The outcomes are the same; without
        ``announcing``, those of swept triggers are changes of phase only. ``watched``: see Series."""
        rules = tuple(rules)
        self._series = Series(rules, watched=watched)
        self._lateness = allowed_lateness
        self._rules_hash = rules_hash(rules, allowed_lateness)
        self._partition = partition
        self._watches_absence = any(rule.terms.no_data == "breach" for rule in rules)
        self._releases = Releases()
        self._evaluation = Evaluation(
            self._series, self._releases, partition, sweeping=sweeping, announcing=announcing
        )
        self._evaluated: int | None = None
        self._evaluated_offset = _NOT_EVALUATED
        self._shown_time = NO_TIME
        self._shown_append = NO_TIME
        self._pending = PendingPortions()
        """Portion after portion: they are many, and small, between two seconds that are evaluated."""
        self._needed: dict[int, int] = {}
        self._forgotten: dict[bytes, None] = {}
        self.late = 0
        """Samples that came after the evaluation of their second."""

    @property
    def series(self) -> Series:
        return self._series

    @property
    def rules_hash(self) -> str:
        return self._rules_hash

    @property
    def evaluated_through(self) -> int | None:
        """The last second evaluated; None before the first sample."""
        return self._evaluated

    @property
    def shown(self) -> tuple[float, float] | None:
        """The greatest time shown and the append time of the record that showed it."""
        return None if self._shown_time == NO_TIME else (self._shown_time, self._shown_append)

    def advance(self, columns: Columns) -> list[Outcome]:
        """Fold in the next records and evaluate every second that they made due."""
        if not columns.records:
            return []
        before, due = self._move_time(columns)
        if self._evaluated is None:
            self._await_releases(columns)
            return []
        second = second_of(columns.time)
        clock = before[columns.record]
        first = np.maximum(second, clock + 1)
        self.late += int((second <= clock).sum())
        samples, through = Pending.of(columns, first, second), int(due[-1])
        # What no window needs once these seconds are evaluated is not worth remembering.
        self._note_needed(samples.take(samples.second > through - self._series.look_back))
        self._take(samples)
        for read in columns.releases:
            release = release_of(read, columns)
            self._take_release(release, max(release.second, int(before[read.record]) + 1), through)
        return self._evaluate(through, _jumps(before, due))

    def recall(
        self,
        checkpoint: Checkpoint,
        remembered: Iterable[Remembered],
        *,
        releases: Iterable[Release] = (),
        admitted: Iterable[Admitted] = (),
        anew: Container[bytes] = frozenset(),
    ) -> list[Outcome]:
        """Begin where another process stopped, with what it remembered, but for the states with the keys
        ``anew``, which begin anew; then ``replay`` from ``replay_from`` on.

        Returns what is to be said about triggers that were firing under a definition which is
        no more.
        """
        evaluated, shown = checkpoint.evaluated_through, checkpoint.shown_time
        if evaluated is None or shown is None or checkpoint.shown_append is None:
            return []
        self._evaluated = evaluated
        self._evaluated_offset = checkpoint.evaluated_offset
        self._shown_time, self._shown_append = shown, checkpoint.shown_append
        self._releases.recall(releases)
        self._forgotten.update(dict.fromkeys(self._series.admission.recall(admitted)))
        superseded = []
        for memory in remembered:
            if memory.key not in anew and self._series.recall(memory):
                continue
            self._forgotten[memory.key] = None
            if memory.state.phase == "firing":
                superseded.append(self._superseded(memory, evaluated + 1))
        return superseded

    def replay(self, columns: Columns) -> None:
        """Fold in records from before the checkpoint's ``next_offset``, evaluating nothing."""
        if self._evaluated is None:
            self._await_releases(columns)
            return
        if not columns.records:
            return
        evaluated = self._evaluated
        second = second_of(columns.time)
        counted = columns.offset <= self._evaluated_offset
        first = np.where(counted, second, np.maximum(second, evaluated + 1))
        samples = Pending.of(columns, first, second)
        old = samples.first <= evaluated
        self._series.place(samples)
        self._note_needed(samples)
        self._note_born(samples)
        self._evaluation.restore(samples.take(old), evaluated)
        self._pending.add(samples.take(~old))
        for read in columns.releases:
            release = release_of(read, columns)
            if release.offset > self._evaluated_offset or release.second > evaluated:
                # The newest of those that count already is remembered.
                self._take_release(release, max(release.second, evaluated + 1), evaluated)

    def checkpoint(
        self, next_offset: int, *, partitions: int, predicted: PredictionCheckpoint | None = None
    ) -> Checkpoint:
        """Where a restart would begin; ``predicted`` is where predictions would."""
        self._forget_unneeded()
        shown = self.shown
        return Checkpoint(
            evaluated_through=self._evaluated,
            evaluated_offset=self._evaluated_offset,
            next_offset=next_offset,
            replay_from=min(self._needed.values(), default=next_offset),
            shown_time=None if shown is None else shown[0],
            shown_append=None if shown is None else shown[1],
            rules_hash=self._rules_hash,
            partitions=partitions,
            predicted=predicted,
        )

    def changes(self) -> dict[bytes, bytes | None]:
        """The states that changed since the last call, by key; None: no longer remembered."""
        changes: dict[bytes, bytes | None] = dict.fromkeys(self._forgotten)
        self._forgotten = {}
        changes.update(self._releases.changes())
        changes.update(self._series.admission.changes())
        for instance in self._series.changed():
            key = state_key(instance.rule.name, instance.of)
            keep = instance.must_be_remembered
            changes[key] = instance.remembered().to_bytes() if keep else None
        return changes

    def overflows(self) -> list[Overflow]:
        """The triggers that had no room for a group, since the last call: each is told once."""
        return self._series.admission.overflows()

    def overflowed(self) -> list[Rule]:
        """The triggers that have had no room for a group, also before a restart."""
        return self._series.admission.overflowed()

    def groups(self) -> Iterator[tuple[Rule, Group]]:
        """Every trigger with each group of it that was seen."""
        for instance in self._series.instances():
            yield instance.rule, instance.of

    def group_counts(self) -> Iterator[tuple[Rule, int]]:
        """The triggers of which some group was seen, each with the number of them."""
        return self._series.groups()

    def phases(self) -> Iterator[tuple[Rule, Phase]]:
        """The trigger and the phase of each instance that may not be inactive."""
        for instance in self._series.awake():
            yield instance.rule, instance.state.phase

    def _move_time(self, columns: Columns) -> tuple[Ints, Ints]:
        """The second evaluated before and after each record is folded in; nothing, if none of them
        shows a time."""
        shown = np.maximum.accumulate(np.maximum(columns.record_time, self._shown_time))
        if shown[-1] == NO_TIME:
            none = np.empty(0, dtype=np.int64)
            return none, none
        if self._evaluated is None:
            self._begin(columns)
        start = self._evaluated if self._evaluated is not None else _NOT_EVALUATED
        with np.errstate(invalid="ignore"):
            due = np.maximum(np.floor(shown - self._lateness), start).astype(np.int64)
        before = np.concatenate([[start], due[:-1]]).astype(np.int64)
        if due[-1] > start:
            self._evaluated_offset = int(columns.record_offset[np.searchsorted(due, due[-1])])
        if shown[-1] > self._shown_time:
            by = int(np.argmax(columns.record_time))
            self._shown_time = float(shown[-1])
            self._shown_append = float(columns.record_append[by])
        return before, due

    def _begin(self, columns: Columns) -> None:
        record, self._evaluated = before_first(columns, self._lateness)
        self._evaluated_offset = int(columns.record_offset[record]) - 1

    def _take(self, samples: Pending) -> None:
        self._series.place(samples)
        self._note_born(samples)
        self._pending.add(samples)

    def _await_releases(self, columns: Columns) -> None:
        """They count as soon as a sample shows a time, if theirs has come by then."""
        for read in columns.releases:
            release = release_of(read, columns)
            self._take_release(release, release.second, release.second - 1)

    def _take_release(self, release: Release, first: int, through: int) -> None:
        """A release that counts from ``first`` on; it is read again until second ``through`` is past that."""
        self._releases.add(release, first)
        if first > through:
            self._needed[first] = min(release.offset, self._needed.get(first, release.offset))

    def _note_needed(self, samples: Pending) -> None:
        """Remember the smallest offset of each second's samples."""
        if not len(samples):
            return
        seconds, at = np.unique(samples.second, return_index=True)
        for second, offset in zip(seconds.tolist(), samples.offset[at].tolist(), strict=True):
            known = self._needed.get(second)
            if known is None or offset < known:
                self._needed[second] = offset

    def _forget_unneeded(self) -> None:
        if self._evaluated is not None:
            oldest = self._evaluated + 1 - max(1, self._series.look_back)
            self._needed = {second: offset for second, offset in self._needed.items() if second > oldest}

    def _note_born(self, samples: Pending) -> None:
        """Where missing data is a breach, note from which second on there could be data."""
        if not self._watches_absence:
            return
        for shelf in self._series.shelves:
            for row in shelf.awake:
                self._note_born_of(shelf.instances[row], [(shelf, row)], samples)
        for derived in self._series.derived:
            self._note_born_of(derived.instance, derived.rows, samples)

    def _note_born_of(self, instance: Instance, rows: Iterable[tuple[Shelf, int]], samples: Pending) -> None:
        if not instance.watches_absence:
            return
        evaluated = self._evaluated if self._evaluated is not None else 0
        for shelf, row in rows:
            known = _NEVER if instance.born is None else instance.born
            if known <= evaluated:
                return
            own = samples.first[shelf.feed.rows(samples.series) == shelf.place(row)]
            if len(own) and own.min() < known:
                instance.born = int(own.min())
                instance.note_change()

    def _evaluate(self, through: int, jumps: Jumps) -> list[Outcome]:
        evaluated = self._evaluated if self._evaluated is not None else through
        if evaluated >= through:
            return []
        outcomes: list[Outcome] = []
        pending, taken = self._pending.take(through), 0
        cuts = np.unique(pending.first[pending.first > pending.second])
        while evaluated < through:
            first = evaluated + 1
            self._evaluation.begin_releases(first)
            release = self._releases.next_first
            end = through if release is None else min(through, release - 1)
            due = int(pending.first[taken]) if taken < len(pending) else end + 1
            skip_to = self._evaluation.quiet_until(first, min(due, end + 1), _untold_through(first, jumps))
            if skip_to > first:
                self._evaluation.pass_over(first, skip_to - 1)
                evaluated = skip_to - 1
                continue
            last = min(end, first + self._evaluation.longest - 1)
            cut = int(np.searchsorted(cuts, first, side="right"))
            if cut < len(cuts):
                last = min(last, int(cuts[cut]) - 1)
            upto = int(np.searchsorted(pending.first, last, side="right"))
            found = self._evaluation.block(pending.take(slice(taken, upto)), first, last)
            outcomes += found if not jumps else [each for each in found if _is_told(each, jumps)]
            taken, evaluated = upto, last
        self._pending.put_back(pending.take(slice(taken, None)))
        self._evaluated = evaluated
        if len(self._needed) > 2 * self._series.look_back + BLOCK:
            self._forget_unneeded()
        return outcomes

    def _superseded(self, memory: Remembered, at: int) -> Outcome:
        state = memory.state
        evidence = evidence_between(self._partition, memory.first_offset, memory.last_offset, state.samples)
        return Outcome(
            at=at,
            rule=memory.rule,
            of=memory.of,
            before="firing",
            after="inactive",
            reason="superseded",
            kind="superseded",
            value=None,
            began=state.began,
            evidence=evidence,
        )


def before_first(columns: Columns, lateness: float) -> tuple[int, int]:
    """The first record that shows a time (there is one), and the second before the first one to
    evaluate: that of its first sample, or the earliest one that a later sample could still be in
    time for."""
    record = int(np.argmax(columns.record_time > NO_TIME))
    times = columns.time[columns.record == record]
    earliest = float(times.min()) if len(times) else float(columns.record_time[record])
    in_time = math.floor(float(columns.record_time[record]) - lateness)
    return record, min(math.ceil(earliest) - 1, in_time)


def release_of(read: ReleaseRead, columns: Columns) -> Release:
    offset = int(columns.record_offset[read.record])
    return Release(read.component, read.time, read.version, offset)


def _jumps(before: Ints, due: Ints) -> Jumps:
    """Where one record made more seconds due than announcements are repeated for."""
    if int(due[-1]) - int(before[0]) <= REPEATED_WITHIN_S:
        return []
    far = np.flatnonzero(due - before > REPEATED_WITHIN_S)
    return list(zip(before[far].tolist(), (due[far] - REPEATED_WITHIN_S).tolist(), strict=True))


def _untold_through(second: int, jumps: Jumps) -> int:
    """The last of the seconds around ``second`` whose repetitions are not told; or the one before."""
    at = bisect_left(jumps, second, key=lambda jump: jump[0]) - 1
    return max(second - 1, jumps[at][1] - 1) if at >= 0 else second - 1


def _is_told(outcome: Outcome, jumps: Jumps) -> bool:
    if outcome.kind not in ("firing", "no_data"):
        return True
    return _untold_through(outcome.at, jumps) < outcome.at
