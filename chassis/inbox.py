"""The inbox: each event takes effect once, however often it is read.

Its row is written in the transaction of the effect. The body's hash is kept, so that an id
used again with another body is refused, not taken for a repetition.
"""

from __future__ import annotations

import hashlib
from enum import Enum

import msgspec

from chassis.consume import Received
from chassis.postgres import Connection


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
);"""


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

    async def take(self, connection: Connection, item: Received) -> Novelty:
        """Note the event; call it within the transaction of the effect."""
        body = body_hash(item.value)
        row = await connection.fetchrow(
            self._insert, item.event.id, body, item.topic, item.partition, item.offset
        )
        if row is not None:
            return Novelty.NEW
        known = await connection.fetchval(self._select, item.event.id)
        return Novelty.DUPLICATE if known == body else Novelty.CONFLICT
