"""The journal of deliveries, in Postgres."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from chassis.consume import Received
from chassis.errors import Unreadable
from chassis.inbox import Inbox, Novelty
from chassis.outbox import Outbox
from chassis.postgres import Connection, Pool
from schemas.envelope import make_event
from schemas.notifications import DeliveryEvent, DeliveryKind
from services.notifier.adapters import queries
from services.notifier.domain.announcements import PROGRESS, Delivery, Message
from services.notifier.domain.attempts import Retry
from services.notifier.domain.entry import Entry, LaneObject, Settlement

SCHEMA = "notifier"
MIGRATIONS = "services.notifier.adapters.migrations"
LEASE = timedelta(seconds=5)
RENEWAL_S = 1.5


class PostgresJournal:
    """One process's view of the journal; ``owner`` is ``<instance>:<process>``."""

    def __init__(self, pool: Pool, *, owner: str, source: str) -> None:
        self._pool = pool
        self._owner = owner
        self._source = source
        self._inbox = Inbox(SCHEMA)
        self.outbox = Outbox(SCHEMA)

    async def now(self) -> datetime:
        """The database's time."""
        now: datetime = await self._pool.fetchval(queries.NOW)
        return now

    async def record(self, item: Received, deliveries: Iterable[Delivery]) -> Sequence[Delivery] | None:
        """Record what an event causes, once; None if the event was recorded before.

        Raises Unreadable if its id came with another body, or holds what Postgres cannot (a NUL).
        """
        try:
            return await self._record(item, deliveries)
        except asyncpg.DataError as error:
            raise Unreadable("not_storable", f"the database cannot hold it: {error}") from error

    async def _record(self, item: Received, deliveries: Iterable[Delivery]) -> Sequence[Delivery] | None:
        async with self._pool.acquire() as connection, connection.transaction():
            novelty = await self._inbox.take(connection, item)
            if novelty is Novelty.CONFLICT:
                raise Unreadable("id_reused", f"the id {item.event.id} came before with another body")
            if novelty is Novelty.DUPLICATE:
                return None
            return await self.record_within(connection, deliveries)

    async def record_within(
        self, connection: Connection, deliveries: Iterable[Delivery]
    ) -> Sequence[Delivery]:
        """Record deliveries in a transaction of the caller's; those that are new."""
        return [delivery for delivery in deliveries if await self._insert(connection, delivery)]

    async def _insert(self, connection: Connection, delivery: Delivery) -> bool:
        if delivery.refusal is None:
            await connection.execute(queries.SUPERSEDE_PROGRESS, delivery.lane)
        state, reason = delivery.refusal or ("pending", "")
        row = await connection.fetchrow(
            queries.INSERT, *_values(delivery, json.dumps(asdict(delivery.message))), state, reason
        )
        if row is None:
            return False
        if delivery.refusal is not None:
            outcome, _ = delivery.refusal
            await self._announce(connection, delivery, outcome, 0, row["settled_at"], None, reason)
        return True

    async def claim(self, receiver: str, *, spacing: timedelta) -> Entry | None:
        """Claim the receiver's next delivery that is due, if there is one."""
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(queries.CLAIM, receiver, self._owner, LEASE, spacing)
            if row is None:
                return None
            shown = await connection.fetchrow(queries.LANE, row["lane"])
            thread = await connection.fetchval(queries.FIRST_OF_LANE, row["lane"], row["position"])
            held_back = await connection.fetchval(queries.HELD_BACK, row["lane"], row["position"])
        return replace(_entry(row, shown=shown, thread=thread), held_back=tuple(held_back))

    async def intend(self, entry: Entry) -> Entry | None:
        """Record the intent; None if the claim is lost."""
        delivery_id = entry.delivery.delivery_id
        attempts = await self._pool.fetchval(queries.INTEND, delivery_id, self._owner)
        return None if attempts is None else replace(entry, state="in_doubt", attempts=attempts)

    async def postpone(self, entry: Entry, retry: Retry, *, failed: bool) -> None:
        """Give the claim back until the retry is due."""
        await self._pool.execute(
            queries.POSTPONE,
            entry.delivery.delivery_id,
            self._owner,
            retry.state,
            retry.at,
            retry.reason,
            int(failed),
            entry.unserved,
            json.dumps(dict(entry.refused)),
        )

    async def settle(self, entry: Entry, settlement: Settlement) -> bool:
        """Record the end and announce it in one transaction; False if it was settled before."""
        delivery = entry.delivery
        async with self._pool.acquire() as connection, connection.transaction():
            settled_at = await connection.fetchval(
                queries.SETTLE,
                delivery.delivery_id,
                entry.attempts,
                settlement.outcome,
                settlement.remote_id,
                settlement.reason,
            )
            if settled_at is None:
                return False
            if settlement.shown is not None:
                shown = settlement.shown
                await connection.execute(
                    queries.PUT_LANE, delivery.lane, shown.remote_id, shown.place, shown.event_id
                )
            await self._announce(
                connection,
                delivery,
                settlement.outcome,
                entry.attempts,
                settled_at,
                settlement.remote_id,
                settlement.reason,
            )
        return True

    async def renew_claims(self, delivery_ids: Iterable[str]) -> None:
        """Keep what this process works on from being taken over."""
        await self._pool.execute(queries.RENEW_CLAIMS, self._owner, LEASE, list(delivery_ids))

    async def take_back_claims(self) -> None:
        """Free what earlier processes of this instance had claimed."""
        instance = self._owner.rpartition(":")[0]
        await self._pool.execute(queries.TAKE_BACK_CLAIMS, f"{instance}:")

    async def settle_unreachable(self, reachable: Iterable[str]) -> int:
        """Settle, as not configured, what is open to any other receiver than these; how many."""
        rows = await self._pool.fetch(queries.UNREACHABLE, list(reachable))
        for row in rows:
            reason = "the configuration no longer reaches this receiver"
            await self.settle(_entry(row), Settlement("not_configured", reason=reason))
        return len(rows)

    async def open_counts(self) -> Mapping[str, int]:
        """How many deliveries are unsettled, by channel."""
        return {row["channel"]: row["open"] for row in await self._pool.fetch(queries.OPEN_COUNTS)}

    async def _announce(
        self,
        connection: Connection,
        delivery: Delivery,
        kind: DeliveryKind,
        attempts: int,
        at: datetime,
        remote_id: str | None,
        reason: str,
    ) -> None:
        # An edit between two announcements is part of the message, not a delivery of its own.
        if delivery.about == PROGRESS:
            return
        data = DeliveryEvent(
            kind=kind,
            delivery_id=delivery.delivery_id,
            incident_id=delivery.incident_id,
            execution_id=delivery.execution_id,
            component=delivery.component,
            receiver=delivery.receiver,
            tier=delivery.tier,
            channel=delivery.channel,
            about=delivery.about,
            template=delivery.template,
            attempts=attempts,
            at=at,
            due=delivery.due,
            remote_id=remote_id,
            reason=reason,
        )
        event = make_event(
            data,
            event_id=f"{delivery.delivery_id}/{kind}",
            source=self._source,
            time=at,
            subject=delivery.component,
            correlationid=delivery.incident_id,
            causationid=delivery.event_id,
        )
        await self.outbox.put(connection, event)


def _values(delivery: Delivery, message: str) -> tuple[Any, ...]:
    """The columns of INSERT, up to the state."""
    return (
        delivery.delivery_id,
        delivery.incident_id,
        delivery.execution_id,
        delivery.component,
        delivery.event_id,
        delivery.receiver,
        delivery.tier,
        delivery.channel,
        list(delivery.addresses),
        delivery.lane,
        delivery.about,
        delivery.template,
        message,
        delivery.caused_at,
        delivery.due,
    )


def _entry(row: Any, *, shown: Any = None, thread: str | None = None) -> Entry:
    delivery = Delivery(
        delivery_id=row["delivery_id"],
        incident_id=row["incident_id"],
        execution_id=row["execution_id"],
        component=row["component"],
        event_id=row["event_id"],
        receiver=row["receiver"],
        tier=row["tier"],
        channel=row["channel"],
        addresses=tuple(row["addresses"]),
        lane=row["lane"],
        about=row["about"],
        template=row["template"],
        message=Message(**json.loads(row["message"])),
        caused_at=row["caused_at"],
        due=row["due"],
    )
    return Entry(
        delivery=delivery,
        state=row["state"],
        attempts=row["attempts"],
        failures=row["failures"],
        sent_at=row["sent_at"],
        shown=None if shown is None else LaneObject(shown["remote_id"], shown["place"], shown["event_id"]),
        thread=thread,
        unserved=None if row["unserved"] is None else tuple(row["unserved"]),
        refused=json.loads(row["refused"]),
    )
