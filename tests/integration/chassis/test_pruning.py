"""What nobody can ask for again is deleted; what may still be read again is not, whatever its age."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from aiokafka.admin import RecordsToDelete
from prometheus_client import CollectorRegistry

from chassis.consume import Received, received
from chassis.errors import DependencyUnavailable
from chassis.inbox import Inbox, Novelty, OldInboxRows
from chassis.kafka import Consumer, Kafka, Producer, TopicPartition
from chassis.outbox import Outbox, SentRows
from chassis.postgres import Connection, Pool
from chassis.pruning import PORTION, Prunable, Pruned, Pruner, PruningMetrics
from tests.integration.chassis.parts import SCHEMA, command, records_of
from tests.polling import eventually

pytestmark = pytest.mark.usefixtures("tables")
KEEP = timedelta(days=45)
INBOX = Inbox(SCHEMA)
OUTBOX = Outbox(SCHEMA)
AGE_INBOX = "UPDATE parts.inbox SET received_at = received_at - interval '46 days' WHERE event_id = ANY ($1)"
IDS = "SELECT coalesce(array_agg(event_id ORDER BY event_id), '{}') FROM parts."


@pytest.fixture
async def consumer(kafka: Kafka, topics: None) -> AsyncIterator[Consumer]:  # noqa: ARG001
    async with kafka.consumer(kafka.topic("commands")) as started:
        yield started


def pruner(
    pool: Pool,
    *prunables: Prunable,
    registry: CollectorRegistry | None = None,
    busy: Callable[[], bool] = lambda: False,
) -> Pruner:
    metrics = PruningMetrics(registry or CollectorRegistry())
    return Pruner(pool, SCHEMA, prunables, metrics, keep=KEEP, busy=busy)


@contextlib.asynccontextmanager
async def pruning(one: Pruner) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(one.run(stop, first_after_s=0, every_s=0.05))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(running, timeout=20)


async def ids(pool: Pool, table: str) -> list[str]:
    found: list[str] = await pool.fetchval(IDS + table)
    return found


async def take(pool: Pool, item: Received) -> Novelty:
    async with pool.acquire() as connection, connection.transaction():
        return await INBOX.take(connection, item)


async def take_all(pool: Pool, kafka: Kafka) -> list[Novelty]:
    """What somebody reads who has lost the offsets of the group."""
    return [await take(pool, received(record)) for record in await records_of(kafka, "commands")]


async def send(kafka: Kafka, producer: Producer, *numbers: int) -> None:
    for number in numbers:
        await producer.send(kafka.topic("commands"), command(number).to_bytes())


async def delete_before(kafka: Kafka, offset: int) -> None:
    """As retention does, without waiting for it."""
    place = TopicPartition(kafka.topic("commands"), 0)
    async with kafka.admin() as admin:
        await admin.delete_records({place: RecordsToDelete(before_offset=offset)})


async def test_an_event_is_known_as_long_as_the_log_holds_it(
    pool: Pool, kafka: Kafka, producer: Producer, consumer: Consumer
) -> None:
    await send(kafka, producer, 0, 1, 2, 3, 1)  # the second one twice, as after a crash
    assert await take_all(pool, kafka) == [*[Novelty.NEW] * 4, Novelty.DUPLICATE]
    await pool.execute(AGE_INBOX, ["cmd-0", "cmd-1", "cmd-2"])
    registry = CollectorRegistry()
    rows = OldInboxRows(SCHEMA, kafka.topic("commands"), consumer)
    async with pruning(pruner(pool, rows, registry=registry)):
        # All is in the log still: nothing goes, though it is old.
        await rows.prepare()
        async with pool.acquire() as connection:
            assert await rows.prune(connection, KEEP, PORTION) == Pruned(0, more=False)
        await delete_before(kafka, 4)

        async def is_pruned() -> bool:
            return await ids(pool, "inbox") == ["cmd-1", "cmd-3"]

        await eventually(
            is_pruned, what="cmd-0 and cmd-2 are pruned: not the younger one, nor what came twice"
        )

        async def is_counted() -> bool:
            return registry.get_sample_value("backout_pruned_rows_total", {"table": "parts.inbox"}) == 2

        await eventually(is_counted, what="the rows are counted")
    assert await take_all(pool, kafka) == [Novelty.DUPLICATE]


async def test_what_was_sent_long_ago_goes_and_what_was_not_sent_stays(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        for number in range(PORTION + 20):
            await OUTBOX.put(connection, command(number))
    await pool.execute(
        "UPDATE parts.outbox SET created_at = now() - interval '90 days', sent_at = CASE event_id "
        "WHEN 'cmd-1' THEN NULL WHEN 'cmd-2' THEN now() - interval '44 days' "
        "ELSE now() - interval '46 days' END"
    )
    async with pruning(pruner(pool, SentRows(SCHEMA))):

        async def is_pruned() -> bool:
            return await ids(pool, "outbox") == ["cmd-1", "cmd-2"]

        await eventually(is_pruned, what="more than one portion is pruned")


async def test_one_prunes_at_a_time_and_waits_for_no_row_that_another_holds(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        for number in range(2):
            await OUTBOX.put(connection, command(number))
    await pool.execute("UPDATE parts.outbox SET sent_at = now() - interval '46 days'")
    one = pruner(pool, SentRows(SCHEMA))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", one._lock_id)
        assert await one._portion(SentRows(SCHEMA)) == Pruned(0, more=False)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM parts.outbox WHERE event_id = 'cmd-0' FOR UPDATE")
        assert await one._portion(SentRows(SCHEMA)) == Pruned(1, more=False)
    assert await ids(pool, "outbox") == ["cmd-0"]


async def test_nothing_is_pruned_while_there_is_something_better_to_do(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await OUTBOX.put(connection, command(1))
    await pool.execute("UPDATE parts.outbox SET sent_at = now() - interval '46 days'")
    asked: list[None] = []
    works = True

    def busy() -> bool:
        asked.append(None)
        return works

    async with pruning(pruner(pool, SentRows(SCHEMA), busy=busy)):

        async def was_asked() -> bool:
            return len(asked) > 3

        await eventually(was_asked, what="some rounds have passed")
        assert await ids(pool, "outbox") == ["cmd-1"]
        works = False

        async def is_pruned() -> bool:
            return await ids(pool, "outbox") == []

        await eventually(is_pruned, what="it is pruned after that")


async def test_what_goes_wrong_is_counted_and_tried_again(pool: Pool) -> None:
    class Fails:
        table = "parts.other"

        async def prepare(self) -> None:
            """It fails later."""

        async def prune(self, connection: Connection, keep: timedelta, limit: int) -> Pruned:
            if registry.get_sample_value("backout_pruning_failures_total", {"table": self.table}) in (
                None,
                0,
            ):
                await connection.execute("SELECT no_such_column")
            raise DependencyUnavailable("no broker")

    registry = CollectorRegistry()
    async with pruning(pruner(pool, Fails(), registry=registry)):

        async def is_counted() -> bool:
            labels = {"table": "parts.other"}
            return (registry.get_sample_value("backout_pruning_failures_total", labels) or 0) >= 3

        await eventually(is_counted, what="several failures are counted")
