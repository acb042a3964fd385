"""Backtests: the engine over recorded samples.

A file of JSON lines is read as if partitioned by component, with each sample appended at its
own time; a range of the topic is read as the broker keeps it. Both run the engine of the live
service, so a backtest over a range says what the live service said, or would have said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from schemas.metrics import Sample, Unread, epoch_seconds, read_record
from services.monitor.domain.columns import NO_SERIES, Columns
from services.monitor.domain.engine import PartitionEngine
from services.monitor.domain.intake import Intake, RecordLike
from services.monitor.domain.outcomes import Outcome, rfc3339
from services.monitor.domain.rules import Rule

_LINES_AT_ONCE = 20_000

OnUnread = Callable[[int, Unread], None]
"""Told of each line (from 1) or offset that could not be read, or not wholly."""


@dataclass(frozen=True, slots=True)
class Backtested:
    """What a backtest found, in order of time, and how many samples it read."""

    outcomes: list[Outcome]
    samples: int
    late: int

    def transitions(self) -> Iterator[Outcome]:
        """The changes of phase, without the announcements in between."""
        return (outcome for outcome in self.outcomes if outcome.is_transition)


def backtest_lines(
    rules: Sequence[Rule],
    lines: Iterable[bytes],
    *,
    allowed_lateness: float,
    until: float | None = None,
    on_unread: OnUnread,
) -> Backtested:
    """Run the rules over JSON lines, each a sample or a batch; ``until`` (epoch seconds) is the
    time of a last clock record. Unreadable lines are told to ``on_unread`` and passed over."""
    components: dict[str, _Component] = {}
    numbered = enumerate((line.strip() for line in lines), start=1)
    while portion := list(islice(numbered, _LINES_AT_ONCE)):
        for number, line in portion:
            if line:
                _take_line(components, number, line, rules, allowed_lateness, on_unread)
        for component in components.values():
            component.flush()
    if until is not None:
        for component in components.values():
            component.add_clock(until)
            component.flush()
    outcomes = [outcome for component in components.values() for outcome in component.outcomes]
    outcomes.sort(key=lambda outcome: outcome.order)
    return Backtested(
        outcomes,
        samples=sum(component.samples for component in components.values()),
        late=sum(component.engine.late for component in components.values()),
    )


class RecordsBacktest:
    """Runs the rules over consecutive records of one partition, in portions of any size."""

    def __init__(
        self, rules: Sequence[Rule], *, allowed_lateness: float, partition: int, on_unread: OnUnread
    ) -> None:
        self._engine = PartitionEngine(rules, allowed_lateness=allowed_lateness, partition=partition)
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
        self._outcomes += self._engine.advance(taken.columns)

    def found(self) -> Backtested:
        return Backtested(self._outcomes, self._samples, self._engine.late)


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


def _take_line(
    components: dict[str, _Component],
    number: int,
    line: bytes,
    rules: Sequence[Rule],
    allowed_lateness: float,
    on_unread: OnUnread,
) -> None:
    read = read_record(line)
    for unread in read.unread:
        on_unread(number, unread)
    if read.clock is not None:
        on_unread(number, Unread("clock", "a clock record belongs to a partition of the topic"))
    by_component: dict[str, list[Sample]] = {}
    for sample in read.samples:
        by_component.setdefault(sample.component, []).append(sample)
    for name, samples in by_component.items():
        component = components.get(name)
        if component is None:
            engine = PartitionEngine(rules, allowed_lateness=allowed_lateness)
            component = components[name] = _Component(engine)
        component.add(number, samples)


@dataclass(slots=True)
class _Component:
    """The partition of one component: records collected until they are handed to its engine."""

    engine: PartitionEngine
    outcomes: list[Outcome] = field(default_factory=list)
    samples: int = 0
    _offset: list[int] = field(default_factory=list)
    _shown: list[float] = field(default_factory=list)
    _record: list[int] = field(default_factory=list)
    _series: list[int] = field(default_factory=list)
    _time: list[float] = field(default_factory=list)
    _value: list[float] = field(default_factory=list)

    def add(self, number: int, samples: Sequence[Sample]) -> None:
        series = self.engine.series
        times = [epoch_seconds(sample.time) for sample in samples]
        self._record += [len(self._offset)] * len(samples)
        self._offset.append(number)
        self._shown.append(max(times))
        self._time += times
        self._value += [sample.value for sample in samples]
        self._series += [
            series.id_of(sample.metric, sample.component, sample.labels)
            if series.looks_at(sample.metric)
            else NO_SERIES
            for sample in samples
        ]
        self.samples += len(samples)

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
        )
        self.outcomes += self.engine.advance(columns)
        for collected in (self._offset, self._shown, self._record, self._series, self._time, self._value):
            collected.clear()
