"""The outbox: events are written in the transaction of what they tell, and sent afterwards.

One relay at a time sends them (an advisory lock), in the order of their rows, and forgets
each only when the broker has acknowledged it. An event may be sent twice after a crash; its
id is the same, and readers apply an id once. A row that was sent keeps its id from being put again,
and is needed for nothing else: whoever could put an id again long after has to know better by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from datetime import timedelta
from typing import Any

import structlog

from chassis.errors import DependencyUnavailable, PermanentError
from chassis.failpoints import Failpoints
from chassis.kafka import Kafka, Producer
from chassis.lifecycle import until_set
from chassis.postgres import UNAVAILABLE, Connection, Pool
from chassis.pruning import Pruned
from schemas.envelope import CONTENT_TYPE, Event, KindedData
from schemas.registry import MAX_EVENT_BYTES
from schemas.topics import TopicId, all_topics

log = structlog.get_logger(__name__)
_BATCH = 100
_POLL_S = 1.0
_RETRY_S = 0.5
_SILENCE_S = 5.0


def outbox_table(schema: str) -> str:
    """The DDL of an outbox, for a service's first migration (kept here as its reference)."""
    return f"""
CREATE TABLE {schema}.outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id   text NOT NULL UNIQUE,
    topic      text NOT NULL,
    key        text NOT NULL,
    value      bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz
);
CREATE INDEX outbox_unsent ON {schema}.outbox (id) WHERE sent_at IS NULL;
CREATE INDEX outbox_by_age ON {schema}.outbox (sent_at) WHERE sent_at IS NOT NULL;"""


class Outbox:
    """The outbox table of one service's schema."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.channel = f"{schema}_outbox"
        # One round trip: the relay is woken with the commit.
        self._insert = (
            f"WITH put AS (INSERT INTO {schema}.outbox (event_id, topic, key, value) "  # noqa: S608
            "VALUES ($1, $2, $3, $4) ON CONFLICT (event_id) DO NOTHING RETURNING id) "
            f"SELECT pg_notify('{self.channel}', '') FROM put"
        )

    async def put(self, connection: Connection, event: Event[KindedData]) -> None:
        """Add an event; call it within the transaction of what the event tells.

        Raises PermanentError for an event that no reader would take: once written, it could never
        be sent, and everything behind it would wait.
        """
        value = event.to_bytes()
        if len(value) > MAX_EVENT_BYTES:
            raise PermanentError(f"event {event.id} has {len(value)} bytes, more than {MAX_EVENT_BYTES}")
        await connection.execute(self._insert, event.id, event.data.topic, event.subject, value)


class SentRows:
    """The rows of one service's outbox that were sent long ago."""

    def __init__(self, schema: str) -> None:
        self.table = f"{schema}.outbox"
        self._delete = (
            f"WITH oldest AS (SELECT id FROM {schema}.outbox "  # noqa: S608
            "WHERE sent_at < now() - $1::interval ORDER BY sent_at LIMIT $2 FOR UPDATE SKIP LOCKED), "
            f"gone AS (DELETE FROM {schema}.outbox o USING oldest WHERE o.id = oldest.id RETURNING 1) "
            "SELECT count(*) FROM gone"
        )

    async def prepare(self) -> None:
        """Nothing but the row itself says that it may go."""

    async def prune(self, connection: Connection, keep: timedelta, limit: int) -> Pruned:
        rows = await connection.fetchval(self._delete, keep, limit)
        return Pruned(rows, more=rows == limit)


class OutboxRelay:
    """Sends what is in an outbox, until it is stopped."""

    def __init__(
        self,
        pool: Pool,
        outbox: Outbox,
        kafka: Kafka,
        producer: Producer,
        failpoints: Failpoints | None = None,
    ) -> None:
        self._failpoints = failpoints or Failpoints()
        self._pool = pool
        self._outbox = outbox
        self._kafka = kafka
        self._producer = producer
        self._lock_id = zlib.crc32(f"{outbox.schema}.outbox".encode())
        self._wake = asyncio.Event()
        # A relay asks at least every _POLL_S. One that is frozen keeps its session, and with it the
        # lock: the server ends a session that is silent for longer than any living relay's.
        self._release_if_frozen = f"SET idle_session_timeout = '{_SILENCE_S:g}s'"
        self._select = (
            f"SELECT id, event_id, topic, key, value FROM {outbox.schema}.outbox "  # noqa: S608
            f"WHERE sent_at IS NULL ORDER BY id LIMIT {_BATCH}"
        )
        self._mark = f"UPDATE {outbox.schema}.outbox SET sent_at = now() WHERE id = ANY($1::bigint[])"  # noqa: S608

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until ``stop`` is set; a lost database or broker is waited for."""
        while not stop.is_set():
            try:
                await self._relay(stop)
            except (*UNAVAILABLE, DependencyUnavailable) as error:
                log.warning("outbox waits", schema=self._outbox.schema, error=str(error))
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stop.wait(), _RETRY_S)

    async def _relay(self, stop: asyncio.Event) -> None:
        async with self._pool.acquire() as connection:
            await connection.execute(self._release_if_frozen)
            await connection.add_listener(self._outbox.channel, self._on_notify)
            try:
                while not stop.is_set():
                    if await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._lock_id):
                        await self._send_all(connection, stop)
                    await until_set(self._wake, stop, timeout_s=_POLL_S)
                await connection.execute("SELECT pg_advisory_unlock_all()")
                await connection.remove_listener(self._outbox.channel, self._on_notify)
            except BaseException:
                # A lost connection cannot unlisten, and the pool takes none back that listens; ending
                # the session gives the lock back, too.
                connection.terminate()
                raise

    async def _send_all(self, connection: Connection, stop: asyncio.Event) -> None:
        """Send as long as this relay holds the lock; what is there at the stop still goes out."""
        while True:
            self._wake.clear()
            while rows := await connection.fetch(self._select):
                await self._send_batch(connection, rows)
            if stop.is_set():
                return
            await until_set(self._wake, stop, timeout_s=_POLL_S)

    async def _send_batch(self, connection: Connection, rows: list[Any]) -> None:
        """Send in order; what the broker has is marked even if a later row fails."""
        sent = []
        try:
            for row in rows:
                await self._send(row)
                sent.append(row["id"])
                self._failpoints.reach(f"{self._outbox.schema}.outbox-sent")
        finally:
            if sent:
                await connection.execute(self._mark, sent)

    async def _send(self, row: Any) -> None:
        await self._producer.send(
            self._kafka.topic(_topic_id(row["topic"])),
            row["value"],
            key=row["key"].encode(),
            headers=[("content-type", CONTENT_TYPE.encode())],
        )

    def _on_notify(self, *_: object) -> None:
        self._wake.set()


def _topic_id(name: str) -> TopicId:
    for topic in all_topics():
        if topic == name:
            return topic
    raise ValueError(f"no topic {name!r}")
