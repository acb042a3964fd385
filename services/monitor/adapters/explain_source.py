"""What an explanation is made from: a trigger's events, and the records around its breach."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from chassis.consume import received
from chassis.errors import Unreadable
from chassis.kafka import Kafka, Record, TopicPartition, partition_for_key, read_range
from schemas.metrics import epoch_seconds, read_record
from schemas.triggers import TriggerEvent
from services.monitor.domain.engine.intake import MAX_AHEAD_S, Intake
from services.monitor.domain.engine.series import Series
from services.monitor.domain.explaining.recorded import Recorded, select
from services.monitor.domain.language.groups import Group, Labels
from services.monitor.domain.language.rules import Rule, labels_digest
from services.monitor.domain.measuring.columns import Columns
from services.monitor.handlers.backtest import SampleTable

_AT_ONCE = 20_000
_LONG_S = 600.0


@dataclass(frozen=True, slots=True)
class Source:
    """The records, where they are from, and what is missing (None: nothing)."""

    recorded: Recorded
    place: str
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class GroupWanted:
    """The group to explain: by its labels or, as an id has it, by their digest. Without either, a
    component's only group is meant."""

    component: str
    labels: Labels | None = None
    digest: str | None = None

    def fits(self, group: Group) -> bool:
        if group.component != self.component:
            return False
        if self.digest is not None:
            return bool(group.labels) and labels_digest(group) == self.digest
        return self.labels is None or dict(group.labels) == dict(self.labels)

    @property
    def as_group(self) -> Group:
        """What is known of it without a sample."""
        return Group(self.component, tuple(sorted((self.labels or {}).items())))


async def trigger_events(kafka: Kafka, trigger_id: str) -> list[TriggerEvent]:
    """All events of one trigger that the topic still has, in the order of their seconds."""
    place = TopicPartition(kafka.topic("triggers"), 0)
    async with kafka.reader(place) as reader:
        end = (await reader.end_offsets([place]))[place]
    found: dict[tuple[float, str], TriggerEvent] = {}

    def each(record: Record) -> None:
        # What cannot be read is none of the monitor's events.
        with contextlib.suppress(Unreadable):
            event = received(record).event.data
            if isinstance(event, TriggerEvent) and event.trigger_id == trigger_id:
                found[event.at.timestamp(), event.kind] = event

    await read_range(kafka, place, 0, end - 1, each=each, timeout_s=_LONG_S)
    return [found[key] for key in sorted(found)]


async def from_topic(
    kafka: Kafka,
    rule: Rule,
    wanted: GroupWanted,
    lateness: float,
    *,
    begin: float,
    last: int,
    event: TriggerEvent | None,
) -> Source:
    """The records of the component's partition from those appended at ``begin`` (epoch seconds), or
    the event's first piece of evidence, to the one that makes second ``last`` due."""
    topic = kafka.topic("metrics")
    evidence = None if event is None else event.evidence
    async with kafka.consumer(topic) as consumer:
        count = len(consumer.partitions_for(topic))
        number = (
            partition_for_key(wanted.component.encode(), count) if evidence is None else evidence.partition
        )
        place = TopicPartition(topic, number)
        oldest = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        at_time = (await consumer.offsets_for_times({place: math.floor((begin - MAX_AHEAD_S) * 1000)}))[place]
    start = end if at_time is None else at_time
    if evidence is not None:
        start = min(start, evidence.first_offset)
    missing = None
    if oldest > 0 and start <= oldest:
        missing = f"retention has deleted {topic}[{number}] up to offset {oldest - 1}"
        missing += ", and with it samples that the answer may hang on"
    recorded = await _read(kafka, place, max(start, oldest), end, rule, wanted, lateness, last)
    return Source(recorded, f"{topic}[{number}]", missing)


async def _read(
    kafka: Kafka,
    place: TopicPartition,
    begin: int,
    end: int,
    rule: Rule,
    wanted: GroupWanted,
    lateness: float,
    last: int,
) -> Recorded:
    """Read in portions until the second ``last`` is due or the log ends."""
    series = Series([rule])
    intake = Intake(series)
    parts: list[Columns] = []
    while begin < end:
        records: list[Record] = []
        until = min(end, begin + _AT_ONCE)
        await read_range(kafka, place, begin, until - 1, each=records.append, timeout_s=_LONG_S)
        begin = until
        if records:
            parts.append(intake.read(records).columns)
            if float(parts[-1].record_time.max()) - lateness >= last:
                break
    return _selected(_joined(parts), series, rule, wanted, lateness, place.partition)


def _selected(
    columns: Columns, series: Series, rule: Rule, wanted: GroupWanted, lateness: float, partition: int = 0
) -> Recorded:
    return select(
        columns, series, rule, wanted.fits, nobody=wanted.as_group, lateness=lateness, partition=partition
    )


def from_lines(lines: Iterable[bytes], rule: Rule, wanted: GroupWanted, lateness: float) -> Recorded:
    """The component's samples of JSON lines, each appended at its own time, as in a backtest."""
    known = Series([rule])
    component = wanted.component
    offset: list[int] = []
    shown: list[float] = []
    record: list[int] = []
    series: list[int] = []
    time: list[float] = []
    value: list[float] = []
    for number, line in enumerate(lines, start=1):
        samples = [sample for sample in read_record(line.strip()).samples if sample.component == component]
        if not samples:
            continue
        times = [epoch_seconds(sample.time) for sample in samples]
        record += [len(offset)] * len(samples)
        offset.append(number)
        shown.append(max(times))
        time += times
        value += [sample.value for sample in samples]
        series += [known.number_of(sample.metric, component, sample.labels) for sample in samples]
    columns = Columns(
        np.array(offset, dtype=np.int64),
        np.array(shown, dtype=np.float64),
        np.array(shown, dtype=np.float64),
        np.array(record, dtype=np.int64),
        np.array(series, dtype=np.int64),
        np.array(time, dtype=np.float64),
        np.array(value, dtype=np.float64),
    )
    return _selected(columns, known, rule, wanted, lateness)


def from_tables(tables: Iterable[SampleTable], rule: Rule, wanted: GroupWanted, lateness: float) -> Recorded:
    """The component's rows of a Parquet file."""
    known = Series([rule])
    columns = _joined(list(_columns_of(tables, known, wanted.component)))
    return _selected(columns, known, rule, wanted, lateness)


def _columns_of(tables: Iterable[SampleTable], known: Series, component: str) -> Iterator[Columns]:
    for table in tables:
        if component not in table.components:
            continue
        rows = np.flatnonzero(table.component == table.components.index(component))
        time = table.time[rows]
        series = table.series_of(rows, component, known)
        yield Columns(table.row[rows], time, time, np.arange(len(rows)), series, time, table.value[rows])


def _joined(parts: list[Columns]) -> Columns:
    if not parts:
        none, floats = np.empty(0, dtype=np.int64), np.empty(0)
        return Columns(none, floats, floats, none, none, floats, floats)
    begins = np.cumsum([0, *(part.records for part in parts[:-1])])
    return Columns(
        np.concatenate([part.record_offset for part in parts]),
        np.concatenate([part.record_append for part in parts]),
        np.concatenate([part.record_time for part in parts]),
        np.concatenate([part.record + begin for part, begin in zip(parts, begins, strict=True)]),
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.value for part in parts]),
    )
