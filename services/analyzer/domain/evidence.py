"""Which records of the log are evidence of an incident.

The same question is asked when records are archived and when the log is replayed, so both find
the same records.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import msgspec
from pydantic import ValidationError

from schemas.incidents import IncidentEvent
from schemas.logs import LogRecord
from schemas.metrics import read_record
from schemas.registry import AnyEvent, UnreadableEvent, read_event
from services.analyzer.domain.facts import Place, RollbackFact, belongs, fact_of

LONGEST = timedelta(hours=24)
"""Metrics and logs are evidence until so long after an incident began: one that is left open for
days must not fill the archive, nor the memory of who makes its report. Events are, to the end."""

_OVERHEAD_BYTES = 500
CONTROL_TOPICS = ("triggers", "commands", "rollbacks", "notifications")


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """A record of the log. ``kind`` is the topic's short id, ``topic`` its name on the broker,
    ``timestamp_ms`` the record's own time in milliseconds since the epoch."""

    kind: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return len(self.key or b"") + len(self.value or b"") + _OVERHEAD_BYTES

    @property
    def place(self) -> Place:
        return Place(topic=self.topic, partition=self.partition, offset=self.offset)


@dataclass(frozen=True, slots=True)
class Archiving:
    """How far the records of one component on one partition are archived: [first, next_offset)."""

    component: str
    topic: str
    partition: int
    first: int
    next_offset: int


def event_in(record: EvidenceRecord) -> AnyEvent | None:
    """The event that a record carries; None where it cannot be read (it is a dead letter)."""
    try:
        return read_event(record.value)
    except UnreadableEvent:
        return None


def log_in(record: EvidenceRecord) -> LogRecord | None:
    """The log line that a record carries; None where it cannot be read."""
    try:
        return LogRecord.model_validate(msgspec.json.decode(record.value or b""))
    except (msgspec.DecodeError, ValidationError, UnicodeDecodeError, RecursionError):
        return None


def measures(record: EvidenceRecord, component: str) -> bool:
    """Whether a record of the metrics topic holds a sample of ``component``.

    Records are keyed by component; one with another key is passed over unread.
    """
    if record.key is not None and record.key != component.encode():
        return False
    return any(sample.component == component for sample in read_record(record.value).samples)


def tells_of(record: EvidenceRecord, component: str) -> bool:
    """Whether a record of the logs topic is a line of ``component``."""
    line = log_in(record)
    return line is not None and line.component == component


def concerns(record: EvidenceRecord, component: str) -> bool:
    """Whether a metric or log record is evidence for an incident of ``component``."""
    if record.kind == "metrics":
        return measures(record, component)
    return record.kind == "logs" and tells_of(record, component)


def may_be_of(closing: IncidentEvent, record: EvidenceRecord) -> bool:
    """Whether a record may be evidence of the closed incident; ``select`` then tells for sure.

    It lets the reader of a busy partition keep nothing of others' metrics and logs.
    """
    if record.kind in CONTROL_TOPICS:
        return True
    return any(concerns(record, component) for component in components_of(closing))


def components_of(closing: IncidentEvent) -> tuple[str, ...]:
    """The components that took part."""
    return closing.components or (closing.component,)


def members_in(closing: IncidentEvent, records: Iterable[EvidenceRecord]) -> frozenset[str]:
    """Every id that leads to the closed incident: also those that absorbed requests add."""
    members = {closing.incident_id, *closing.triggers, *closing.executions}
    links = []
    for record in records:
        event = event_in(record) if record.kind == "rollbacks" else None
        fact = fact_of(event, record.place) if event is not None else None
        if isinstance(fact, RollbackFact) and fact.kind == "absorbed":
            links.append((fact.correlation, fact.requested_by))
    grown = True
    while grown:
        found = {absorbed for into, absorbed in links if into in members} - members
        members |= found
        grown = bool(found)
    return frozenset(members)


def select(closing: IncidentEvent, records: Iterable[EvidenceRecord]) -> list[EvidenceRecord]:
    """The evidence among the records of the frozen ranges, in the order of (time, topic, partition,
    offset); a record that is given twice counts once."""
    given = {(one.topic, one.partition, one.offset): one for one in records}
    members = members_in(closing, given.values())
    selected = []
    for record in given.values():
        if record.kind in CONTROL_TOPICS:
            event = event_in(record)
            if event is not None and belongs(event, members):
                selected.append(record)
        elif may_be_of(closing, record):
            selected.append(record)
    return sorted(selected, key=lambda one: (one.timestamp_ms, one.topic, one.partition, one.offset))
