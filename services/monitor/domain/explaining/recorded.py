"""The records around one trigger's breach, over which its definition can be run again.

They are those of one partition. The samples of the trigger's group have a series; every other
one only moves time. Releases are among them, as they are on the partition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.monitor.domain.engine.engine import PartitionEngine, before_first, release_of
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.engine.releases import Release, Releases
from services.monitor.domain.engine.series import Series, SeriesName
from services.monitor.domain.engine.shelves import Figures
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.phases import INACTIVE, Phase, State
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.columns import NO_SERIES, NO_TIME, Columns, Pending, second_of
from services.monitor.domain.measuring.windows import Flags, Ints


@dataclass(frozen=True, slots=True)
class Recorded:
    """Consecutive records. A sample's series is an index of ``names``, the series of ``group``, or
    ``NO_SERIES``. ``lateness`` in seconds. ``groups_before`` other groups of the trigger came first."""

    columns: Columns
    group: Group
    names: tuple[SeriesName, ...]
    lateness: float
    partition: int = 0
    groups_before: int = 0

    def due(self) -> Ints:
        """The last second that each record makes due; a second before every other at first."""
        shown = np.maximum.accumulate(self.columns.record_time)
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(shown), np.floor(shown - self.lateness), -1).astype(np.int64)

    def through(self, second: int) -> Recorded:
        """The records that make ``second`` due, and no second after it."""
        due = self.due()
        count = int(np.searchsorted(due, second)) + 1
        if count > len(due):
            return self
        columns = self.columns
        record_time = columns.record_time[:count].copy()
        # A little more, so that taking the lateness off again does not round to the second before.
        record_time[-1] = min(record_time[-1], second + self.lateness + 0.001)
        samples = int(np.searchsorted(columns.record, count))
        cut = Columns(
            columns.record_offset[:count],
            columns.record_append[:count],
            record_time,
            columns.record[:samples],
            columns.series[:samples],
            columns.time[:samples],
            columns.value[:samples],
            tuple(read for read in columns.releases if read.record < count),
        )
        return replace(self, columns=cut)

    def releases(self) -> list[tuple[int, Release]]:
        """The releases of the group's component that were its newest when they began to count, each
        with the second from which on it counted."""
        columns = self.columns
        mine = [read for read in columns.releases if read.component == self.group.component]
        if not mine or not (columns.record_time > NO_TIME).any():
            return []
        _, start = before_first(columns, self.lateness)
        before = np.maximum(np.concatenate([[start], self.due()[:-1]]), start)
        known, seconds = Releases(), set()
        for read in mine:
            release = release_of(read, columns)
            first = max(release.second, int(before[read.record]) + 1)
            known.add(release, first)
            seconds.add(first)
        return [(second, release) for second in sorted(seconds) for release in known.begin(second)]

    def samples(self) -> tuple[Pending, Flags]:
        """The group's samples in the order of the log, each with the first second that counts it, and
        which of them came late."""
        columns = self.columns
        mine = columns.series != NO_SERIES
        due = self.due()
        before = np.concatenate([[-1], due[:-1]])[columns.record[mine]]
        second = second_of(columns.time[mine])
        first = np.maximum(second, before + 1)
        samples = Pending(
            columns.series[mine], second, first, columns.time[mine], columns.value[mine], columns.offset[mine]
        )
        return samples, second <= before


def select(
    columns: Columns,
    series: Series,
    rule: Rule,
    fits: Callable[[Group], bool],
    *,
    nobody: Group,
    lateness: float,
    partition: int = 0,
) -> Recorded:
    """The records with the samples of the first group that ``fits``, which ``columns`` number as
    ``series`` does; ``nobody`` is the group if there is none."""
    group: Group | None = None
    mine: list[tuple[int, SeriesName]] = []
    before: set[Group] = set()
    for number, name in sorted(series.names().items()):
        found = rule.selection.group_of(name.component, name.labels)
        if found is not None and fits(found) and group in (None, found):
            group = found
            mine.append((number, name))
        elif found is not None and group is None and name.metric in rule.metrics:
            before.add(found)
    # One more than there are: the number of no series is the last one's index.
    numbers = np.full(len(series.names()) + 1, NO_SERIES, dtype=np.int64)
    for at, (number, _) in enumerate(mine):
        numbers[number] = at
    return Recorded(
        replace(columns, series=numbers[columns.series]),
        nobody if group is None else group,
        tuple(name for _, name in mine),
        lateness,
        partition,
        0 if group is None else len(before),
    )


def numbered(rule: Rule, names: Sequence[SeriesName], series: Series) -> None:
    """Make the series known to ``series`` of this rule alone, under their indices."""
    for at, name in enumerate(names):
        if series.id_of(name.metric, name.component, name.labels) != at:
            raise AssertionError(f"{name} of {rule.name} is known already")


@dataclass(frozen=True, slots=True)
class Run:
    """What the engine finds over the records, and where that leaves the trigger; ``figures`` are what
    its checks are compared with at the end: None for one for which no release has fixed any. There are
    none without a sample of the group."""

    outcomes: list[Outcome]
    state: State
    evaluated: int | None
    figures: Figures = ()

    def phase_before(self, second: int) -> Phase:
        """The trigger's phase when ``second`` is about to be evaluated."""
        phase: Phase = "inactive"
        for change in self.outcomes:
            if change.is_transition and change.at < second:
                phase = change.after
        return phase

    def fires(self, first: int, last: int) -> bool:
        """Whether the trigger is firing at some second from ``first`` to ``last``."""
        firing = False
        for change in self.outcomes:
            if not change.is_transition or change.at > last:
                continue
            if change.at <= first:
                firing = change.after == "firing"
            elif change.after == "firing":
                return True
        return firing


def run(rule: Rule, recorded: Recorded) -> Run:
    """Run one definition over the records."""
    engine = PartitionEngine(
        [rule], allowed_lateness=recorded.lateness, partition=recorded.partition, sweeping=True
    )
    numbered(rule, recorded.names, engine.series)
    outcomes = engine.advance(recorded.columns)
    instance = next(iter(engine.series.instances()), None)
    state, figures = (INACTIVE, ()) if instance is None else (instance.state, instance.figures)
    return Run(outcomes, state, engine.evaluated_through, figures)
