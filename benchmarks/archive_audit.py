"""What the analyzer has kept of an incident, held against what the log has of it.

A record counts as lost as soon as the analyzer says that it has read past it and the archive does
not have it: nothing will bring it back. So losses are found while the flow still goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import asyncpg

from chassis.kafka import Kafka, Record, TopicPartition, read_range
from schemas.registry import read_event
from schemas.topics import TopicId

CONTROL: tuple[TopicId, ...] = ("triggers", "commands", "rollbacks", "notifications")
_SHOWN = 20
_ARCHIVE = """
SELECT topic, "offset", event_id FROM analyzer.archive WHERE incident_id = $1 AND event_id IS NOT NULL
"""
_PROGRESS = "SELECT topic, next_offset FROM analyzer.progress WHERE partition = 0"
_TABLES = "SELECT to_regclass('analyzer.progress') IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Entry:
    """An event and its place in the log."""

    topic: str
    offset: int
    event_id: str


@dataclass(frozen=True, slots=True)
class Kept:
    """The archive of an incident, and the next offset to read of each topic, at one moment."""

    archive: tuple[Entry, ...]
    progress: Mapping[str, int]


def faults(kept: Kept, log: Collection[Entry], aborted: Collection[str]) -> list[str]:
    """A line for each kind of fault and topic; ``log`` are the incident's committed records."""
    archived, expected = set(kept.archive), set(log)
    passed = {entry for entry in expected if entry.offset < kept.progress.get(entry.topic, 0)}
    times = Counter(entry.event_id for entry in kept.archive)
    return [
        *_lines("lost", passed - archived),
        *_lines("archived though aborted", {entry for entry in archived if entry.event_id in aborted}),
        *_lines("archived though not in the log", archived - expected),
        *_lines("archived more than once", {entry for entry in archived if times[entry.event_id] > 1}),
    ]


def unread(kept: Kept, log: Iterable[Entry]) -> list[str]:
    """The records, of the incident or not, that the analyzer has not come to."""
    return _lines("not read", {entry for entry in log if entry.offset >= kept.progress.get(entry.topic, 0)})


def _lines(what: str, entries: Collection[Entry]) -> list[str]:
    topics = sorted({entry.topic for entry in entries})
    return [_line(what, topic, sorted(e.offset for e in entries if e.topic == topic)) for topic in topics]


def _line(what: str, topic: str, offsets: list[int]) -> str:
    runs = _runs(offsets)
    words = ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs[:_SHOWN])
    more = f" and in {len(runs) - _SHOWN} more places" if len(runs) > _SHOWN else ""
    return f"{len(offsets)} {what} on {topic}, at {words}{more}"


def _runs(offsets: Iterable[int]) -> list[list[int]]:
    """Offsets in order, in runs without a gap."""
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and runs[-1][-1] == offset - 1:
            runs[-1].append(offset)
        else:
            runs.append([offset])
    return runs


class Ledger:
    """The committed records of the control topics, as far as it has read."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._next = {TopicPartition(kafka.topic(topic), 0): 0 for topic in CONTROL}
        self._entries: list[tuple[str, Entry]] = []

    @property
    def entries(self) -> list[Entry]:
        return [entry for _, entry in self._entries]

    def of(self, incident_id: str) -> list[Entry]:
        """The entries whose events say that they belong to the incident."""
        return [entry for correlation, entry in self._entries if correlation == incident_id]

    async def read(self) -> None:
        """Read on to the ends of the topics."""
        async with self._kafka.reader(*self._next) as reader:
            ends = await reader.end_offsets(list(self._next))
        for partition, first in self._next.items():
            await read_range(self._kafka, partition, first, ends[partition] - 1, each=self._add)
        self._next = ends

    def _add(self, record: Record) -> None:
        event = read_event(record.value)
        entry = Entry(record.topic, record.offset, event.id)
        self._entries.append((event.correlationid, entry))


async def read_kept(dsn: str, incident_id: str) -> Kept:
    """What is kept at this moment; nothing where no analyzer has made its tables yet."""
    connection = await asyncpg.connect(dsn)
    try:
        if not await connection.fetchval(_TABLES):
            return Kept((), {})
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            archive = await connection.fetch(_ARCHIVE, incident_id)
            progress = await connection.fetch(_PROGRESS)
    finally:
        await connection.close()
    entries = tuple(Entry(row["topic"], row["offset"], row["event_id"]) for row in archive)
    return Kept(entries, {row["topic"]: row["next_offset"] for row in progress})
