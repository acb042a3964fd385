"""Backtests: the engine over recorded samples.

A file of JSON lines is read as if partitioned by component, with each sample appended at its
own time; a range of the topic is read as the broker keeps it. Both run the engine of the live
service, so a backtest over a range says what the live service said, or would have said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from chassis.consume import event_of
from chassis.errors import Unreadable
from schemas.metrics import Release, Sample, Unread, epoch_seconds, read_record
from services.monitor.domain.engine.admission import Overflow
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake, RecordLike
from services.monitor.domain.engine.outcomes import Outcome, rfc3339
from services.monitor.domain.engine.series import Series
from services.monitor.domain.language.groups import Labels
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.columns import NO_TIME, Columns, ReleaseRead
from services.monitor.domain.prediction.predictions import Predictions, run_through
from services.monitor.domain.trials.coverage import Coverage, Watched
from services.monitor.handlers.recorded_reports import RecordedReport, is_event, report_of

_LINES_AT_ONCE = 20_000
_BY_LABELS = -2
"""The number of the series has to be looked up by the row's labels, too."""

OnUnread = Callable[[int | str, Unread], None]
"""Told of each line or row (from 1), offset, or ``PARTITION:OFFSET`` that could not be read, or only in
part."""
OnProgress = Callable[[int], None]
"""Told how many bytes, rows or records more were read."""


@dataclass(frozen=True, slots=True)
class Backtested:
    """What a backtest found, in order of time, and how many samples it read. Over a file the outcomes
    are changes of phase; over the topic all that the live service announces is among them."""

    outcomes: list[Outcome]
    samples: int
    late: int
    watched: list[Watched] = field(default_factory=list)
    through: dict[str, int] = field(default_factory=dict)
    """The last second evaluated, by component."""
    overflows: list[Overflow] = field(default_factory=list)
    """The triggers that had no room for a group, each with the first that was refused."""
    reports: list[RecordedReport] = field(default_factory=list)
    """The reports that were found among the samples, or in a range of their topic."""

    def transitions(self) -> Iterator[Outcome]:
        """The changes of phase, without the announcements in between."""
        return (outcome for outcome in self.outcomes if outcome.is_transition)


def backtest_lines(
    rules: Sequence[Rule],
    lines: Iterable[bytes],
    *,
    allowed_lateness: float,
    until: float | None = None,
    releases: Sequence[Release] = (),
    on_unread: OnUnread,
    on_progress: OnProgress | None = None,
) -> Backtested:
    """Run the rules over JSON lines, each a sample, a batch or a release; ``until`` (epoch seconds) is
    the time of a last clock record, and what is later than it is left out. Reports among them are
    collected. Unreadable lines are told to ``on_unread`` and passed over. ``releases`` are further ones,
    each announced at its time."""
    components = _Components(rules, allowed_lateness, until, releases)
    reports: list[RecordedReport] = []
    numbered = enumerate((line.strip() for line in lines), start=1)
    while portion := list(islice(numbered, _LINES_AT_ONCE)):
        for number, line in portion:
            if line:
                _take_line(components, reports, number, line, on_unread)
        for component in components.values():
            component.flush()
        if on_progress is not None:
            on_progress(sum(len(line) + 1 for _, line in portion))
    reports.sort(key=lambda each: each.read)
    return replace(components.found(), reports=reports)


@dataclass(frozen=True, slots=True)
class SampleTable:
    """A portion of recorded samples in columns, in the order of the record. ``row`` counts from 1;
    ``metric`` and ``component`` index the names, and ``labels`` the values of each label that was
    read; times are epoch seconds."""

    row: npt.NDArray[np.int64]
    metrics: Sequence[str]
    metric: npt.NDArray[np.int64]
    components: Sequence[str]
    component: npt.NDArray[np.int64]
    time: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]
    labels: Mapping[str, tuple[Sequence[str], npt.NDArray[np.int64]]] = field(default_factory=dict)

    def series_of(self, rows: npt.NDArray[np.int64], component: str, series: Series) -> npt.NDArray[np.int64]:
        """The number of each row's series, which are made known; all rows are of ``component``."""
        numbers = np.array(
            [
                _BY_LABELS if series.reads_labels_of(metric) else series.number_of(metric, component)
                for metric in self.metrics
            ],
            dtype=np.int64,
        )
        found: npt.NDArray[np.int64] = numbers[self.metric[rows]]
        labelled = np.flatnonzero(found == _BY_LABELS)
        if len(labelled):
            found[labelled] = self._by_labels(rows[labelled], component, series)
        return found

    def _by_labels(
        self, rows: npt.NDArray[np.int64], component: str, series: Series
    ) -> npt.NDArray[np.int64]:
        codes = np.stack([self.metric[rows], *(code[rows] for _, code in self.labels.values())], axis=1)
        distinct, which = np.unique(codes, axis=0, return_inverse=True)
        numbers = []
        for metric, *values in distinct.tolist():
            labels = {
                name: names[value]
                for (name, (names, _)), value in zip(self.labels.items(), values, strict=True)
            }
            numbers.append(series.number_of(self.metrics[metric], component, labels))
        return np.array(numbers, dtype=np.int64)[which.ravel()]


def backtest_tables(
    rules: Sequence[Rule],
    tables: Iterable[SampleTable],
    *,
    allowed_lateness: float,
    until: float | None = None,
    releases: Sequence[Release] = (),
    on_progress: OnProgress | None = None,
) -> Backtested:
    """As ``backtest_lines``, over columns whose rows have been checked to be good samples."""
    components = _Components(rules, allowed_lateness, until, releases)
    for table in tables:
        order = np.argsort(table.component.astype(np.int32), kind="stable")
        order = order[table.time[order] <= components.until]
        if not len(order):
            continue
        code = table.component[order]
        edges = np.flatnonzero(np.diff(code, prepend=-1)).tolist()
        for begin, end in zip(edges, [*edges[1:], len(code)], strict=True):
            component = components[table.components[int(code[begin])]]
            component.take(table, order[begin:end])
        if on_progress is not None:
            on_progress(len(code))
    return components.found()


class RecordsBacktest:
    """Runs the rules over consecutive records of one partition, in portions of any size."""

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        allowed_lateness: float,
        partition: int,
        on_unread: OnUnread,
        predictions: Predictions | None = None,
    ) -> None:
        self._engine = PartitionEngine(
            rules,
            allowed_lateness=allowed_lateness,
            partition=partition,
            sweeping=True,
            watched=None if predictions is None else predictions.watched,
        )
        self._predictions = predictions
        self._feed = None if predictions is None else predictions.feed(self._engine.series)
        self._coverage = Coverage(rules)
        self._intake = Intake(self._engine.series)
        self._on_unread = on_unread
        self._outcomes: list[Outcome] = []
        self._samples = 0

    def take(self, records: Sequence[RecordLike]) -> None:
        """Fold in the next records, and tell which of them could not be read."""
        taken = self._intake.read(records)
        for index, unread in taken.unread:
            self._on_unread(records[index].offset, unread)
        self._samples += len(taken.columns.time)
        self._coverage.add(taken.columns.series, taken.columns.time, self._engine.series.names())
        self._outcomes += self._engine.advance(taken.columns)
        if self._predictions is not None and self._feed is not None:
            run_through(self._predictions.fold(self._feed.portion(taken.columns)))

    def found(self) -> Backtested:
        through, names = self._engine.evaluated_through, self._engine.series.names()
        return Backtested(
            self._outcomes,
            self._samples,
            self._engine.late,
            _evaluated(self._coverage.watched(names, through), self._engine),
            {} if through is None else {name.component: through for name in names.values()},
            self._engine.overflows(),
        )


def transition_json(outcome: Outcome) -> dict[str, Any]:
    """A change of phase as the backtest prints it; times in RFC 3339."""
    return {
        "at": rfc3339(outcome.at),
        "trigger": outcome.rule.name,
        "group": outcome.group,
        "from": outcome.before,
        "to": outcome.after,
        "reason": outcome.reason,
        "value": outcome.value,
        "threshold": outcome.rule.when.threshold,
        "began": rfc3339(outcome.began),
        "id": outcome.trigger_id,
    }


def joined(parts: Sequence[Backtested]) -> Backtested:
    """What several partitions found, as one."""
    outcomes = [outcome for part in parts for outcome in part.outcomes]
    outcomes.sort(key=lambda outcome: outcome.order)
    return Backtested(
        outcomes,
        samples=sum(part.samples for part in parts),
        late=sum(part.late for part in parts),
        watched=[watched for part in parts for watched in part.watched],
        through={name: through for part in parts for name, through in part.through.items()},
        overflows=[overflow for part in parts for overflow in part.overflows],
    )


def _evaluated(watched: Iterable[Watched], engine: PartitionEngine) -> list[Watched]:
    """Without the groups that a trigger had no room for."""
    groups = {(rule.name, of) for rule, of in engine.groups()}
    return [each for each in watched if (each.trigger, each.of) in groups]


def _take_line(
    components: _Components, reports: list[RecordedReport], number: int, line: bytes, on_unread: OnUnread
) -> None:
    read = read_record(line)
    if read.unread and not read.samples and is_event(line):
        _take_event(reports, number, line, on_unread)
        return
    for unread in read.unread:
        on_unread(number, unread)
    if read.clock is not None:
        on_unread(number, Unread("clock", "a clock record belongs to a partition of the topic"))
    if read.release is not None and epoch_seconds(read.release.time) <= components.until:
        components[read.release.component].add_release(number, read.release)
    by_component: dict[str, list[Sample]] = {}
    for sample in read.samples:
        if epoch_seconds(sample.time) > components.until:
            continue
        by_component.setdefault(sample.component, []).append(sample)
    for name, samples in by_component.items():
        components[name].add(number, samples)


def _take_event(reports: list[RecordedReport], number: int, line: bytes, on_unread: OnUnread) -> None:
    try:
        report = report_of(event_of(line))
    except Unreadable as error:
        on_unread(number, Unread(error.reason, str(error)))
    else:
        reports.append(RecordedReport(report, report.at))


class _Components(dict[str, "_Component"]):
    """The partitions of a file, one for each component.

    The known ``releases`` of a component are given to its engine before all samples: one counts from its
    own second on, as if it had been announced right then, among the samples in order of time.
    ``until`` is when the record ends.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        allowed_lateness: float,
        until: float | None,
        releases: Sequence[Release] = (),
    ) -> None:
        super().__init__()
        self.until = math.inf if until is None else until
        self._rules = rules
        self._lateness = allowed_lateness
        self._releases: dict[str, list[tuple[int, Release]]] = {}
        for number, release in enumerate(releases, start=1):
            if epoch_seconds(release.time) <= self.until:
                self._releases.setdefault(release.component, []).append((number, release))

    def __missing__(self, name: str) -> _Component:
        engine = PartitionEngine(
            self._rules, allowed_lateness=self._lateness, sweeping=True, announcing=False
        )
        component = self[name] = _Component(name, engine, Coverage(self._rules))
        for number, release in self._releases.get(name, ()):
            component.add_release(number, release)
        component.flush()
        return component

    def found(self) -> Backtested:
        """What there is when all is read, and time has passed until the end."""
        for component in self.values():
            if math.isfinite(self.until):
                component.add_clock(self.until)
            component.flush()
        return joined([component.found() for component in self.values()])


@dataclass(slots=True)
class _Component:
    """The partition of one component: records collected until they are handed to its engine."""

    name: str
    engine: PartitionEngine
    coverage: Coverage
    outcomes: list[Outcome] = field(default_factory=list)
    samples: int = 0
    _offset: list[int] = field(default_factory=list)
    _shown: list[float] = field(default_factory=list)
    _record: list[int] = field(default_factory=list)
    _series: list[int] = field(default_factory=list)
    _time: list[float] = field(default_factory=list)
    _value: list[float] = field(default_factory=list)
    _releases: list[ReleaseRead] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def take(self, table: SampleTable, rows: npt.NDArray[np.int64]) -> None:
        """Fold in these rows of a table, each a record of its own."""
        time = table.time[rows]
        each = np.arange(len(rows))
        series = table.series_of(rows, self.name, self.engine.series)
        self._advance(Columns(table.row[rows], time, time, each, series, time, table.value[rows]))
        self.samples += len(rows)

    def _number(self, metric: str, labels: Labels | None) -> int:
        series = self.engine.series
        if series.reads_labels_of(metric):
            return series.id_of(metric, self.name, labels)
        known = self._numbers.get(metric)
        if known is None:
            known = self._numbers[metric] = series.number_of(metric, self.name)
        return known

    def add(self, number: int, samples: Sequence[Sample]) -> None:
        times = [epoch_seconds(sample.time) for sample in samples]
        self._record += [len(self._offset)] * len(samples)
        self._offset.append(number)
        self._shown.append(max(times))
        self._time += times
        self._value += [sample.value for sample in samples]
        self._series += [self._number(sample.metric, sample.labels) for sample in samples]
        self.samples += len(samples)

    def add_release(self, number: int, release: Release) -> None:
        time = epoch_seconds(release.time)
        self._releases.append(ReleaseRead(len(self._offset), self.name, time, release.version))
        self._offset.append(number)
        self._shown.append(NO_TIME)

    def add_clock(self, time: float) -> None:
        self._offset.append(0)
        self._shown.append(time)

    def flush(self) -> None:
        if not self._offset:
            return
        shown = np.array(self._shown, dtype=np.float64)
        columns = Columns(
            record_offset=np.array(self._offset, dtype=np.int64),
            record_append=shown,
            record_time=shown,
            record=np.array(self._record, dtype=np.int64),
            series=np.array(self._series, dtype=np.int64),
            time=np.array(self._time, dtype=np.float64),
            value=np.array(self._value, dtype=np.float64),
            releases=tuple(self._releases),
        )
        self._advance(columns)
        for collected in (self._offset, self._shown, self._record, self._series, self._time, self._value):
            collected.clear()
        self._releases.clear()

    def _advance(self, columns: Columns) -> None:
        self.coverage.add(columns.series, columns.time, self.engine.series.names())
        self.outcomes += self.engine.advance(columns)

    def found(self) -> Backtested:
        through = self.engine.evaluated_through
        watched = _evaluated(self.coverage.watched(self.engine.series.names(), through), self.engine)
        ends = {} if through is None else {self.name: through}
        overflows = self.engine.overflows()
        return Backtested(self.outcomes, self.samples, self.engine.late, watched, ends, overflows)
