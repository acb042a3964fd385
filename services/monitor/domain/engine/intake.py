"""From records to columns: the hot path of the monitor.

Nearly every record is one good sample, so a fetch is first read as if all were: a few list
comprehensions over decoded structs, and columns made of them. Whatever does not fit (batches,
clock records, unreadable ones) sends the fetch through the record-by-record way, which names
what it could not read.

A long fetch is read piece by piece. What is made of each record is looked at several times, and
lies all over the memory: of a piece it stays in the processor's caches, of a fetch of megabytes it
does not, which takes nearly twice as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Protocol

import msgspec
import numpy as np

from schemas.metrics import (
    MAX_RECORD_BYTES,
    MetricsRecord,
    PlainBatch,
    Release,
    Sample,
    Unread,
    decode_plain_batch,
    decode_sample,
    epoch_seconds,
    read_record,
    sample_problem,
)
from services.monitor.domain.engine.series import Series
from services.monitor.domain.measuring.columns import NO_SERIES, NO_TIME, Columns, ReleaseRead
from services.monitor.domain.measuring.windows import Floats, Ints

MAX_AHEAD_S = 60.0
"""A sample or a release further ahead of its append time than this is unreadable: a sample must not
move time so far, and a release must not wait to count for who knows how long."""

_INVALID = -2
_BY_LABELS = -3
"""The number of the series has to be looked up by the sample's labels, too."""
_MAX_UNWATCHED = 10_000
_PIECE_BYTES = 131_072
_FEWEST = 16
"""Records read at once, at least."""
_NOT_ONE_SAMPLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)


class RecordLike(Protocol):
    """A record of the metrics topic; ``timestamp`` is its append time in milliseconds."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Taken:
    """What was read of a fetch; ``unread`` names the index of each unreadable record."""

    columns: Columns
    unread: list[tuple[int, Unread]]

    def has_samples(self, index: int) -> bool:
        """Whether anything of the record could be read."""
        record = self.columns.record
        at = int(np.searchsorted(record, index))
        return at < len(record) and int(record[at]) == index


class Intake:
    """Reads fetches of one partition."""

    def __init__(self, series: Series) -> None:
        self._numbers = _Metrics(series)

    def read(self, records: Sequence[RecordLike]) -> Taken:
        """The columns of these records, and what could not be read of them."""
        together = _records_together(records)
        if len(records) <= together:
            return self._read(records)
        begins = range(0, len(records), together)
        pieces = [self._read(records[begin : begin + together]) for begin in begins]
        columns = Columns.joined([piece.columns for piece in pieces])
        unread = [
            (begin + index, unread)
            for begin, piece in zip(begins, pieces, strict=True)
            for index, unread in piece.unread
        ]
        return Taken(columns, unread)

    def _read(self, records: Sequence[RecordLike]) -> Taken:
        values = [record.value for record in records]
        try:
            samples = list(map(decode_sample, values))  # type: ignore[arg-type]
            largest = max(map(len, values), default=0)  # type: ignore[arg-type]
        except _NOT_ONE_SAMPLE:
            return self._read_batches(records, values) or self._read_each(records)
        if largest > MAX_RECORD_BYTES:
            return self._read_each(records)
        found = _Found(list(range(len(samples))), samples, None)
        return self._columns(records, found)

    def _read_each(self, records: Sequence[RecordLike]) -> Taken:
        found = _Found([], [], [])
        for index, record in enumerate(records):
            value = record.value
            if value is None or len(value) > MAX_RECORD_BYTES:
                found.add(index, read_record(value))
                continue
            try:
                sample = decode_sample(value)
            except _NOT_ONE_SAMPLE:
                found.add(index, read_record(value))
            else:
                found.add_sample(index, sample, None)
        return self._columns(records, found)

    def _read_batches(self, records: Sequence[RecordLike], values: list[bytes | None]) -> Taken | None:
        """None where anything is no plain batch, is too large, or needs another look."""
        try:
            batches = list(map(decode_plain_batch, values))  # type: ignore[arg-type]
            found = _FoundBatches(batches)
            time = np.array([item.time for item in found.items], dtype=np.float64)
        except _NOT_ONE_SAMPLE:
            return None
        if not found.items or max(map(len, values)) > MAX_RECORD_BYTES:  # type: ignore[arg-type]
            return None
        # Made of None, by numpy.
        missing = np.isnan(time)
        if missing.any():
            if any(batch.time is None for batch in batches):
                return None
            time[missing] = np.repeat(_seconds([batch.time for batch in batches]), found.counts)[missing]
        numbers: list[int] = []
        for batch in batches:
            of_component = self._numbers.of_component(batch.component)
            numbers += [of_component[item.metric] for item in batch.samples]
        series = np.array(numbers, dtype=np.int64)
        if (series == _BY_LABELS).any():
            return None
        value = np.array([item.value for item in found.items], dtype=np.float64)
        record = np.repeat(np.arange(len(batches)), found.counts)
        return self._joined(records, found, record, series, time, value)

    def _columns(self, records: Sequence[RecordLike], found: _Found) -> Taken:
        numbers, samples = self._numbers, found.samples
        series = np.array([numbers[s.metric][s.component] for s in samples], dtype=np.int64)
        for at in np.flatnonzero(series == _BY_LABELS).tolist():
            series[at] = numbers.by_labels(samples[at])
        value = np.array([s.value for s in samples], dtype=np.float64)
        time = _seconds([s.time for s in samples])
        record = np.array(found.record, dtype=np.int64)
        return self._joined(records, found, record, series, time, value)

    @staticmethod
    def _joined(
        records: Sequence[RecordLike],
        found: _Found | _FoundBatches,
        record: Ints,
        series: Ints,
        time: Floats,
        value: Floats,
    ) -> Taken:
        """The columns, without the samples that do not count."""
        offset = _offsets(records)
        append = np.array([record.timestamp for record in records], dtype=np.float64) / 1000.0
        appended = append[record]
        bounded = np.minimum(time, appended)
        wrong = (time - appended > MAX_AHEAD_S) | (series == _INVALID) | (time < 0.0)
        if wrong.any():
            found.set_aside(np.flatnonzero(wrong).tolist(), append, time)
            right = ~wrong
            record, series, time, value = record[right], series[right], time[right], value[right]
            bounded = bounded[right]
        record_time = _record_times(len(records), record, bounded)
        for index, clock in found.clocks:
            record_time[index] = min(clock, append[index])
        releases = found.releases_read(append)
        columns = Columns(offset, append, record_time, record, series, time, value, releases)
        return Taken(columns, sorted(found.unread, key=lambda entry: entry[0]))


def _records_together(records: Sequence[RecordLike]) -> int:
    """How many are read at once: records of a topic are mostly about as long as each other."""
    first = records[0].value if records else None
    return max(_FEWEST, _PIECE_BYTES // max(1, len(first or b"")))


def _offsets(records: Sequence[RecordLike]) -> Ints:
    if not records:
        return np.empty(0, dtype=np.int64)
    first, last = records[0].offset, records[-1].offset
    if last - first == len(records) - 1:
        # Offsets only rise: so none is left out.
        return np.arange(first, last + 1)
    return np.array([record.offset for record in records], dtype=np.int64)


@dataclass(slots=True)
class _Found:
    """Samples with the index of their record and, from a batch, within it."""

    record: list[int]
    samples: list[Sample]
    items: list[int | None] | None
    clocks: list[tuple[int, float]] = field(default_factory=list)
    releases: list[tuple[int, Release]] = field(default_factory=list)
    unread: list[tuple[int, Unread]] = field(default_factory=list)

    def add_sample(self, index: int, sample: Sample, item: int | None) -> None:
        self.record.append(index)
        self.samples.append(sample)
        if self.items is not None:
            self.items.append(item)

    def add(self, index: int, read: MetricsRecord) -> None:
        for sample, item in zip(read.samples, read.items, strict=True):
            self.add_sample(index, sample, item)
        if read.clock is not None:
            self.clocks.append((index, read.clock))
        if read.release is not None:
            self.releases.append((index, read.release))
        self.unread += [(index, unread) for unread in read.unread]

    def releases_read(self, append: Floats) -> tuple[ReleaseRead, ...]:
        """The releases, without those that are too far ahead of their append time."""
        read = []
        for index, release in self.releases:
            time = epoch_seconds(release.time)
            if time - append[index] > MAX_AHEAD_S:
                self.unread.append((index, _future(time - float(append[index]))))
            else:
                read.append(ReleaseRead(index, release.component, time, release.version))
        return tuple(read)

    def set_aside(self, which: list[int], append: Floats, time: Floats) -> None:
        """Note why each of these samples does not count."""
        for at in which:
            item = None if self.items is None else self.items[at]
            index = self.record[at]
            self.unread.append((index, _refused(self.samples[at], item, float(time[at] - append[index]))))


class _FoundBatches:
    """The samples of plain batches, one batch after the other."""

    def __init__(self, batches: Sequence[PlainBatch]) -> None:
        self.items = list(chain.from_iterable([batch.samples for batch in batches]))
        self.counts = np.array([len(batch.samples) for batch in batches], dtype=np.int64)
        self.clocks: list[tuple[int, float]] = []
        self.unread: list[tuple[int, Unread]] = []
        self._batches = batches

    def releases_read(self, append: Floats) -> tuple[ReleaseRead, ...]:
        """None: a release is no batch."""
        return ()

    def set_aside(self, which: list[int], append: Floats, time: Floats) -> None:
        """Note why each of these samples does not count."""
        ends = np.cumsum(self.counts)
        for at in which:
            index = int(np.searchsorted(ends, at, side="right"))
            batch, item = self._batches[index], self.items[at]
            sample = Sample(item.metric, batch.component, item.value, float(time[at]), batch.labels)
            place = at - int(ends[index] - self.counts[index])
            self.unread.append((index, _refused(sample, place, float(time[at] - append[index]))))


def _refused(sample: Sample, item: int | None, ahead: float) -> Unread:
    """Why a sample, which is so many seconds ahead of its append time, does not count."""
    problem = sample_problem(sample) or _future(ahead)
    return Unread(problem.reason, problem.error, item)


def _future(ahead: float) -> Unread:
    words = f"the time is {ahead:.0f} s ahead of its append time, more than {MAX_AHEAD_S:g} s"
    return Unread("future_time", words)


def _seconds(times: Sequence[datetime | float | None]) -> Floats:
    try:
        return np.array(times, dtype=np.float64)
    except TypeError:
        return np.array([epoch_seconds(time) for time in times if time is not None], dtype=np.float64)


def _record_times(records: int, record: Ints, bounded: Floats) -> Floats:
    times = np.full(records, NO_TIME)
    np.maximum.at(times, record, bounded)
    return times


class _Metrics(dict[str, "_Components"]):
    """Numbers of series by metric and component, filled as they appear."""

    def __init__(self, series: Series) -> None:
        super().__init__()
        self._series = series
        self._of_components: dict[str, _OfComponent] = {}

    def of_component(self, component: str) -> _OfComponent:
        """The numbers of one component's series, by metric."""
        known = self._of_components.get(component)
        if known is None:
            if len(self._of_components) >= _MAX_UNWATCHED:
                self._of_components.clear()
            known = self._of_components[component] = _OfComponent(component, self)
        return known

    def by_labels(self, sample: Sample) -> int:
        return self._series.id_of(sample.metric, sample.component, sample.labels)

    def __missing__(self, metric: str) -> _Components:
        components = _Components(metric, self._series)
        if components.watched or len(self) < _MAX_UNWATCHED:
            self[metric] = components
        return components


class _OfComponent(dict[str, int]):
    def __init__(self, component: str, numbers: _Metrics) -> None:
        super().__init__()
        self._component = component
        self._numbers = numbers

    def __missing__(self, metric: str) -> int:
        number = self._numbers[metric][self._component]
        if len(self) < _MAX_UNWATCHED:
            self[metric] = number
        return number


class _Components(dict[str, int]):
    def __init__(self, metric: str, series: Series) -> None:
        super().__init__()
        self._metric = metric
        self._series = series
        self.watched = series.looks_at(metric)
        self._by_labels = series.reads_labels_of(metric)

    def __missing__(self, component: str) -> int:
        if sample_problem(Sample(self._metric, component, 0.0, 0.0)) is not None:
            return _INVALID
        number = NO_SERIES
        if self._by_labels:
            number = _BY_LABELS
        elif self.watched:
            number = self._series.id_of(self._metric, component)
        # A refused group's number is the same as that of what nobody looks at: not worth remembering.
        if number >= 0 or len(self) < _MAX_UNWATCHED:
            self[component] = number
        return number
