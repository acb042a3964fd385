"""The inbox: each event takes effect once, however often it is read.

Its row is written in the transaction of the effect. The body's hash is kept, so that an id
used again with another body is refused, not taken for a repetition.

A row is needed for as long as its record may be read again: a group that has lost its offsets begins with
the first record that the topic holds. Its place is therefore that of the last record with its id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import Enum
from typing import Protocol

import msgspec

from chassis.consume import Received
from chassis.kafka import TopicPartition
from chassis.postgres import Connection
from chassis.pruning import Pruned


class Novelty(Enum):
    """What the inbox knows of an event."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


def inbox_table(schema: str) -> str:
    """The DDL of an inbox, for a service's first migration (kept here as its reference)."""
    return f"""
CREATE TABLE {schema}.inbox (
    event_id    text PRIMARY KEY,
    body_hash   bytea NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    "offset"    bigint NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX inbox_by_age ON {schema}.inbox (topic, partition, received_at) INCLUDE ("offset");"""


def body_hash(value: bytes) -> bytes:
    """The hash of what an event says: type, subject and data as they were written, in any order of
    keys. Not of the model: a newer version of it fills in more fields, and would take a repetition
    for another body."""
    event = msgspec.json.decode(value)
    said = [event.get(name) for name in ("type", "subject", "data")]
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).digest()


class Inbox:
    """The inbox table of one service's schema."""

    def __init__(self, schema: str) -> None:
        self._insert = (
            f'INSERT INTO {schema}.inbox (event_id, body_hash, topic, partition, "offset") '  # noqa: S608
            "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (event_id) DO NOTHING RETURNING event_id"
        )
        self._select = f"SELECT body_hash FROM {schema}.inbox WHERE event_id = $1"  # noqa: S608
        self._seen_again = (
            f'UPDATE {schema}.inbox SET "offset" = $4, received_at = now() '  # noqa: S608
            'WHERE event_id = $1 AND topic = $2 AND partition = $3 AND "offset" < $4'
        )

    async def take(self, connection: Connection, item: Received) -> Novelty:
        """Note the event; call it within the transaction of the effect."""
        body = body_hash(item.value)
        row = await connection.fetchrow(
            self._insert, item.event.id, body, item.topic, item.partition, item.offset
        )
        if row is not None:
            return Novelty.NEW
        known = await connection.fetchval(self._select, item.event.id)
        if known != body:
            return Novelty.CONFLICT
        # Sent twice, it is twice in the log: the row is needed until the second is gone, too.
        await connection.execute(self._seen_again, item.event.id, item.topic, item.partition, item.offset)
        return Novelty.DUPLICATE


class Places(Protocol):
    """Where the topics that are read begin."""

    def partitions_for(self, topic: str) -> frozenset[int]: ...
    async def beginning_offsets(
        self, partitions: Iterable[TopicPartition]
    ) -> Mapping[TopicPartition, int]: ...


class OldInboxRows:
    """The rows of one topic whose records the log holds no longer, however short the retention of rows is:
    what cannot be read again need not be known."""

    def __init__(self, schema: str, topic: str, places: Places) -> None:
        self.table = f"{schema}.inbox"
        self._topic = topic
        self._places = places
        self._begins: Mapping[TopicPartition, int] = {}
        self._delete = (
            f"WITH oldest AS (SELECT event_id FROM {schema}.inbox "  # noqa: S608
            "WHERE topic = $1 AND partition = $2 AND received_at < now() - $3::interval "
            'AND "offset" < $4 ORDER BY received_at LIMIT $5 FOR UPDATE SKIP LOCKED), '
            f"gone AS (DELETE FROM {schema}.inbox i USING oldest o "
            "WHERE i.event_id = o.event_id RETURNING 1) "
            "SELECT count(*) FROM gone"
        )

    async def prepare(self) -> None:
        """Raises DependencyUnavailable where the broker does not say where the topic begins."""
        numbers = sorted(self._places.partitions_for(self._topic))
        self._begins = await self._places.beginning_offsets(
            TopicPartition(self._topic, number) for number in numbers
        )

    async def prune(self, connection: Connection, keep: timedelta, limit: int) -> Pruned:
        rows, more = 0, False
        for place, begin in self._begins.items():
            if begin > 0:
                arguments = (place.topic, place.partition, keep, begin, limit)
                found = await connection.fetchval(self._delete, *arguments)
                rows, more = rows + found, more or found == limit
        return Pruned(rows, more)
