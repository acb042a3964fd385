"""What the analyzer keeps in Postgres: incidents for people, evidence, and how far it has read.

The Faust table comes first, this second, and both before a record is acknowledged. So a crash
between the two is mended when the record is delivered again: nothing here asks whether the
record changed the table, every statement says what shall hold.

What is decided from the table is written in an epoch. One that was frozen for so long that another
has taken over finds this out when it writes.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime

import structlog

from chassis.consume import Received
from chassis.errors import Fenced
from chassis.outbox import Outbox
from chassis.postgres import Connection, Pool
from schemas.envelope import Event, KindedData
from schemas.incidents import IncidentEvent
from schemas.registry import UnreadableEvent, read_event
from services.analyzer.adapters import queries
from services.analyzer.domain import announcements
from services.analyzer.domain.closing import Assessment
from services.analyzer.domain.evidence import Archiving, EvidenceRecord
from services.analyzer.domain.incident import Incident

log = structlog.get_logger(__name__)
SCHEMA = "analyzer"


class Store:
    """The analyzer's schema."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._epoch: int | None = None
        self.outbox = Outbox(SCHEMA)

    async def take_over(self, holder: str) -> None:
        """Begin an epoch of our own: whoever had one is fenced."""
        self._epoch = await self._pool.fetchval(queries.TAKE_OVER, holder)

    @contextlib.asynccontextmanager
    async def _own_epoch(self) -> AsyncIterator[Connection]:
        """A transaction that ends in our epoch, or not at all; raises Fenced."""
        async with self._pool.acquire() as connection, connection.transaction():
            epoch = await connection.fetchval(queries.EPOCH)
            if epoch != self._epoch:
                raise Fenced(f"another analyzer has taken over: it is epoch {epoch}, not {self._epoch}")
            yield connection

    async def save(self, item: Received, incident: Incident, assessment: Assessment, now: datetime) -> None:
        """The incident as it stands, the record as its evidence, and that it was read."""
        async with self._own_epoch() as connection:
            if incident.opened and await _save_incident(connection, incident, assessment):
                event = announcements.opened(incident, now=now, cause=item.event.id)
                await self.outbox.put(connection, event)
            await connection.execute(queries.SAVE_MEMBERS, incident.id, sorted(incident.members))
            for absorbed in incident.absorbed:
                await self._merge(connection, absorbed, incident, item.event.id, now)
            await _archive(connection, incident.id, item)
            await _progress(connection, item.topic, item.partition, item.offset)

    async def _merge(
        self, connection: Connection, absorbed: str, into: Incident, cause: str, now: datetime
    ) -> None:
        why = f"Absorbed into the rollback of {into.id}"
        await connection.execute(queries.MOVE_ARCHIVE, absorbed, into.id)
        row = await connection.fetchrow(queries.MERGE_INCIDENT, absorbed, into.id, why)
        if row is not None:
            event = announcements.merged(
                absorbed, row["component"], row["opened_at"], into.id, now=now, cause=cause
            )
            await self.outbox.put(connection, event)

    async def save_progress(self, topic: str, partition: int, offset: int) -> None:
        """A record that concerns no incident was read."""
        async with self._own_epoch() as connection:
            await _progress(connection, topic, partition, offset)

    async def closed_among(self, ids: Sequence[str]) -> IncidentEvent | None:
        """The closing of the closed incident that one of the ids leads to; the first id goes first."""
        row = await self._pool.fetchrow(queries.CLOSED_AMONG, list(ids))
        return None if row is None else closing_in(row["closing"])

    async def save_addendum(self, item: Received, closing: IncidentEvent, now: datetime) -> None:
        """An event that came after the close: archived, and told of where the report lacks it."""
        async with self._own_epoch() as connection:
            known = await connection.fetchval(queries.IS_ARCHIVED, closing.incident_id, item.event.id)
            await _archive(connection, closing.incident_id, item)
            if not known and not announcements.covers(closing, item.topic, item.partition, item.offset):
                await self._add(connection, closing, item.topic, item.partition, item.offset, item.value, now)
            await _progress(connection, item.topic, item.partition, item.offset)

    async def close(self, item: Received, closing: IncidentEvent, now: datetime) -> bool:
        """Close the incident, unless an earlier closing did. What came meanwhile is an addendum."""
        async with self._own_epoch() as connection:
            answer = await connection.execute(
                queries.CLOSE_INCIDENT,
                closing.incident_id,
                closing.at,
                closing.reason,
                closing.why,
                closing.status,
                item.value,
                item.offset,
                closing.component,
                list(closing.components),
                closing.opened_at,
                list(closing.executions),
                list(closing.triggers),
            )
            is_first = bool(answer == "UPDATE 1")
            if is_first:
                for one in closing.ranges:
                    place = (closing.incident_id, one.topic, one.partition, one.last)
                    for row in await connection.fetch(queries.ARCHIVED_BEYOND, *place):
                        where = (row["topic"], row["partition"], row["offset"], row["value"])
                        await self._add(connection, closing, *where, now)
            await _progress(connection, item.topic, item.partition, item.offset)
        return is_first

    async def _add(
        self,
        connection: Connection,
        closing: IncidentEvent,
        topic: str,
        partition: int,
        offset: int,
        value: bytes,
        now: datetime,
    ) -> None:
        event = read_event(value)
        await connection.execute(
            queries.SAVE_ADDENDUM,
            closing.incident_id,
            event.id,
            event.type,
            topic,
            partition,
            offset,
            event.time,
        )
        await self.outbox.put(connection, announcements.added(closing, event, now=now))

    async def forget(self, incident_id: str) -> None:
        """Delete what is kept of an id that never became an incident."""
        async with self._own_epoch() as connection:
            await connection.execute(queries.FORGET_ARCHIVE, incident_id)
            await connection.execute(queries.FORGET_MEMBERS, incident_id)

    async def note_waiting(self, incident_id: str, assessment: Assessment) -> None:
        """What an open incident waits for now."""
        waiting = (assessment.reason, assessment.why, assessment.status)
        async with self._own_epoch() as connection:
            await connection.execute(queries.NOTE_WAITING, incident_id, *waiting)

    async def announce(self, event: Event[KindedData]) -> None:
        """Send an event through the outbox; one with a known id is not sent again."""
        async with self._own_epoch() as connection:
            await self.outbox.put(connection, event)

    async def progress(self, topics: Iterable[str]) -> dict[str, int]:
        """The next offset to read of each topic; 0 where nothing was read."""
        names = list(topics)
        rows = await self._pool.fetch(queries.PROGRESS, names)
        known = {row["topic"]: row["next_offset"] for row in rows}
        return {name: known.get(name, 0) for name in names}

    async def first_archived(self, incident_id: str, topics: Iterable[str]) -> dict[str, int]:
        """The smallest offset of the incident's events on each topic that has some."""
        rows = await self._pool.fetch(queries.FIRST_ARCHIVED, incident_id, list(topics))
        return {row["topic"]: row["first"] for row in rows}

    async def archiving(self, incident_id: str) -> list[Archiving]:
        rows = await self._pool.fetch(queries.ARCHIVING, incident_id)
        return [Archiving(**dict(row)) for row in rows]

    async def begin_archiving(
        self, incident_id: str, component: str, topic: str, partition: int, first: int
    ) -> None:
        """Where archiving begins; it stays where it began first."""
        await self._pool.execute(queries.BEGIN_ARCHIVING, incident_id, component, topic, partition, first)

    async def archive(
        self, incident_id: str, records: Sequence[EvidenceRecord], done: Archiving | None = None
    ) -> None:
        """Keep records as evidence; ``done`` says how far its component's partition is archived."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.executemany(queries.ARCHIVE_RECORD, [_row(incident_id, one) for one in records])
            if done is not None:
                place = (incident_id, done.component, done.topic, done.partition, done.next_offset)
                await connection.execute(queries.ARCHIVED_TO, *place)

    async def open_events(self) -> list[Received]:
        """The archived events of all that is not over yet, in the order of each topic."""
        found = []
        for row in await self._pool.fetch(queries.OPEN_EVENTS):
            place = (row["topic"], row["partition"], row["offset"], row["timestamp_ms"])
            try:
                event = read_event(row["value"])
            except UnreadableEvent as error:
                # An earlier release may have read what this one does not.
                log.warning(
                    "an archived event cannot be read", topic=place[0], offset=place[2], error=str(error)
                )
            else:
                found.append(Received(event, *place, row["value"]))
        return found

    async def ended_among(self, ids: Iterable[str]) -> list[str]:
        """Which of these incidents are closed or merged."""
        return [row["incident_id"] for row in await self._pool.fetch(queries.ENDED_AMONG, list(ids))]

    async def archived_between(
        self, incident_id: str, kind: str, topic: str, partition: int, first: int, last: int
    ) -> list[EvidenceRecord]:
        """The evidence within a range of a partition."""
        rows = await self._pool.fetch(queries.ARCHIVED_BETWEEN, incident_id, topic, partition, first, last)
        return [EvidenceRecord(kind=kind, **dict(row)) for row in rows]

    async def unreported(self) -> list[IncidentEvent]:
        """The closings of the incidents whose report is still to be made."""
        return [closing_in(row["closing"]) for row in await self._pool.fetch(queries.UNREPORTED)]

    async def report_of(self, incident_id: str) -> tuple[IncidentEvent, str, str] | None:
        """(closing, sha256, directory) of an incident's report; None while there is none."""
        row = await self._pool.fetchrow(queries.REPORT_OF, incident_id)
        return None if row is None else (closing_in(row["closing"]), row["report_sha256"], row["report_dir"])

    async def save_report(self, incident_id: str, sha256: str, directory: str) -> None:
        await self._pool.execute(queries.SAVE_REPORT, incident_id, sha256, directory)

    async def report_failed(self, incident_id: str, error: str) -> None:
        await self._pool.execute(queries.REPORT_FAILED, incident_id, error)


def closing_in(value: bytes) -> IncidentEvent:
    """The data of a stored closing event."""
    data = read_event(value).data
    if not isinstance(data, IncidentEvent):
        raise TypeError(f"a stored closing carries {type(data).__name__}")
    return data


async def _save_incident(connection: Connection, incident: Incident, assessment: Assessment) -> bool:
    """Whether it was not known before."""
    values = (
        incident.id,
        incident.component,
        list(incident.components),
        incident.opened_at,
        incident.began,
        assessment.status,
        assessment.reason,
        assessment.why,
        list(incident.executions),
        list(incident.triggers),
    )
    if await connection.fetchval(queries.OPEN_INCIDENT, *values) is not None:
        return True
    await connection.execute(queries.SAVE_INCIDENT, *values)
    return False


async def _archive(connection: Connection, incident_id: str, item: Received) -> None:
    await connection.execute(
        queries.ARCHIVE_RECORD,
        incident_id,
        item.topic,
        item.partition,
        item.offset,
        item.appended_ms,
        item.event.subject.encode(),
        item.value,
        item.event.id,
    )


def _row(incident_id: str, record: EvidenceRecord) -> tuple[object, ...]:
    place = (record.topic, record.partition, record.offset)
    return (incident_id, *place, record.timestamp_ms, record.key, record.value, None)


async def _progress(connection: Connection, topic: str, partition: int, offset: int) -> None:
    await connection.execute(queries.SAVE_PROGRESS, topic, partition, offset + 1)
