"""What an explanation is made from: a trigger's events, and the records around its breach."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chassis.consume import received
from chassis.errors import Unreadable
from chassis.kafka import Kafka, Record, TopicPartition, partition_for_key, read_range
from schemas.metrics import Release as ReleaseOfFile
from schemas.metrics import Unread, epoch_seconds
from schemas.triggers import TriggerEvent
from services.monitor.adapters.explain_releases import first_offset, releases_before
from services.monitor.domain.engine.intake import MAX_AHEAD_S, Intake
from services.monitor.domain.engine.outcomes import rfc3339
from services.monitor.domain.engine.pasts import seconds_kept
from services.monitor.domain.engine.releases import Release
from services.monitor.domain.engine.series import Series
from services.monitor.domain.explaining.recorded import Recorded, select
from services.monitor.domain.explaining.records import Kept, columns_of_releases, joined_columns
from services.monitor.domain.language.groups import Group, Labels
from services.monitor.domain.language.rules import Rule, labels_digest
from services.monitor.domain.measuring.columns import Columns
from services.monitor.handlers.backtest import SampleTable
from services.monitor.handlers.recorded_lines import recorded_lines

_AT_ONCE = 20_000
_LONG_S = 600.0


@dataclass(frozen=True, slots=True)
class Source:
    """The records, where they are from, and what is missing."""

    recorded: Recorded
    place: str
    missing: Sequence[str] = ()


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
    releases_since: float,
) -> Source:
    """The records of the component's partition from those appended at ``begin`` (epoch seconds), or
    the event's first piece of evidence, to the one that makes second ``last`` due.

    For a trigger that looks at releases they begin with those from before that, as far as they were
    appended after ``releases_since`` or are remembered, and with the newest one's samples for a baseline.
    """
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
    # Twice a baseline's window, so that longer ones can be tried.
    past = 2 * max(map(seconds_kept, rule.checks))
    start = await first_offset(kafka, place, begin - past - MAX_AHEAD_S, end)
    if evidence is not None:
        start = min(start, evidence.first_offset)
    missing = []
    earlier: list[Release] = []
    if rule.looks_at_releases:
        earlier = await releases_before(
            kafka, place, wanted.component, max(start, oldest), since=releases_since
        )
        if rule.has_baseline and earlier:
            needed = earlier[-1].second - past - MAX_AHEAD_S
            start = min(start, await first_offset(kafka, place, needed, end))
        earlier = [each for each in earlier if each.offset < max(start, oldest)]
    if oldest > 0 and start <= oldest:
        missing.append(
            f"retention has deleted {topic}[{number}] up to offset {oldest - 1}, "
            "and with it samples that the answer may hang on"
        )
    recorded = await _read(kafka, place, max(start, oldest), end, rule, wanted, lateness, last, earlier)
    if rule.looks_at_releases and not recorded.releases():
        missing.append(
            f"no release of {wanted.component} is known that was announced after "
            f"{rfc3339(int(releases_since))}; a longer --look-back looks further back"
        )
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
    earlier: Sequence[Release],
) -> Recorded:
    """Read in portions until the second ``last`` is due or the log ends; ``earlier`` releases come first."""
    series = Series([rule])
    intake = Intake(series)
    kept = Kept(wanted.component, lateness)
    parts = [columns_of_releases(earlier)]
    while begin < end:
        records: list[Record] = []
        until = min(end, begin + _AT_ONCE)
        await read_range(kafka, place, begin, until - 1, each=records.append, timeout_s=_LONG_S)
        begin = until
        if records:
            parts.append(kept.of(intake.read(records).columns, series))
            if kept.due >= last:
                break
    return _selected(joined_columns(parts), series, rule, wanted, lateness, place.partition)


def _selected(
    columns: Columns, series: Series, rule: Rule, wanted: GroupWanted, lateness: float, partition: int = 0
) -> Recorded:
    return select(
        columns, series, rule, wanted.fits, nobody=wanted.as_group, lateness=lateness, partition=partition
    )


def from_lines(
    lines: Iterable[bytes],
    rule: Rule,
    wanted: GroupWanted,
    lateness: float,
    on_unread: Callable[[int, Unread], None] | None = None,
) -> Recorded:
    """The component's samples and releases of JSON lines, each appended at its own time, as in a backtest."""
    return recorded_lines(
        lines,
        rule,
        wanted.component,
        wanted.fits,
        nobody=wanted.as_group,
        lateness=lateness,
        on_unread=on_unread,
    )


def from_tables(tables: Iterable[SampleTable], rule: Rule, wanted: GroupWanted, lateness: float) -> Recorded:
    """The component's rows of a Parquet file."""
    known = Series([rule])
    columns = joined_columns(list(_columns_of(tables, known, wanted.component)))
    return _selected(columns, known, rule, wanted, lateness)


def with_releases(recorded: Recorded, releases: Sequence[ReleaseOfFile]) -> Recorded:
    """The records with releases of another file, each of which counts from its own time on, as in a
    backtest."""
    mine = [
        Release(each.component, epoch_seconds(each.time), each.version, number)
        for number, each in enumerate(releases, start=1)
        if each.component == recorded.group.component
    ]
    return replace(recorded, columns=joined_columns([columns_of_releases(mine), recorded.columns]))


def _columns_of(tables: Iterable[SampleTable], known: Series, component: str) -> Iterator[Columns]:
    for table in tables:
        if component not in table.components:
            continue
        rows = np.flatnonzero(table.component == table.components.index(component))
        time = table.time[rows]
        series = table.series_of(rows, component, known)
        yield Columns(table.row[rows], time, time, np.arange(len(rows)), series, time, table.value[rows])
