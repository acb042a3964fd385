"""What is in the outbox reaches the broker in order, whatever happens in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from chassis.errors import PermanentError
from chassis.failpoints import Failpoints
from chassis.kafka import Kafka, Producer
from chassis.outbox import Outbox, OutboxRelay
from chassis.postgres import Pool
from chassis.settings import Settings
from schemas.envelope import CONTENT_TYPE
from tests.integration.chassis.parts import SCHEMA, UNSENT, command, records_of
from tests.integration.conftest import clean_environment
from tests.polling import eventually

pytestmark = pytest.mark.usefixtures("tables")
OUTBOX = Outbox(SCHEMA)


async def put(pool: Pool, *numbers: int) -> None:
    """Each in a transaction of its own."""
    for number in numbers:
        async with pool.acquire() as connection, connection.transaction():
            await OUTBOX.put(connection, command(number))


async def unsent(pool: Pool) -> int:
    count: int = await pool.fetchval(UNSENT)
    return count


async def all_sent(pool: Pool) -> bool:
    return await unsent(pool) == 0


async def ids(kafka: Kafka) -> list[str]:
    return [json.loads(record.value or b"")["id"] for record in await records_of(kafka, "commands")]


@contextlib.asynccontextmanager
async def relaying(pool: Pool, kafka: Kafka, producer: Producer) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(OutboxRelay(pool, OUTBOX, kafka, producer).run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(running, timeout=20)


async def test_events_go_out_in_order_as_cloudevents(pool: Pool, kafka: Kafka, producer: Producer) -> None:
    await put(pool, *range(150))
    async with relaying(pool, kafka, producer):
        await eventually(lambda: all_sent(pool), what="the backlog is sent")
        await put(pool, *range(150, 160))
        await eventually(lambda: all_sent(pool), what="the new ones are sent")
    assert await ids(kafka) == [f"cmd-{number}" for number in range(160)]
    record = (await records_of(kafka, "commands"))[0]
    assert record.key == b"full_system"
    assert record.value == command(0).to_bytes()
    assert list(record.headers) == [("content-type", CONTENT_TYPE.encode())]


async def test_an_event_is_sent_once_however_often_it_is_put(
    pool: Pool, kafka: Kafka, producer: Producer
) -> None:
    await put(pool, 1, 1, 2, 1)
    async with relaying(pool, kafka, producer):
        await eventually(lambda: all_sent(pool), what="all sent")
    assert await ids(kafka) == ["cmd-1", "cmd-2"]


async def test_what_was_rolled_back_is_never_sent(pool: Pool, kafka: Kafka, producer: Producer) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await OUTBOX.put(connection, command(1))
        await transaction.rollback()
    await put(pool, 2)
    async with relaying(pool, kafka, producer):
        await eventually(lambda: all_sent(pool), what="all sent")
    assert await ids(kafka) == ["cmd-2"]


async def test_what_is_there_at_the_stop_still_goes_out(pool: Pool, kafka: Kafka, producer: Producer) -> None:
    async with relaying(pool, kafka, producer):
        await put(pool, 1)
        await eventually(lambda: all_sent(pool), what="it relays")
        await put(pool, *range(2, 12))
    assert await unsent(pool) == 0
    assert len(await ids(kafka)) == 11


async def test_two_relays_do_not_interleave(pool: Pool, kafka: Kafka, producer: Producer) -> None:
    await put(pool, *range(120))
    async with kafka.producer() as other, relaying(pool, kafka, producer), relaying(pool, kafka, other):
        await put(pool, *range(120, 150))
        await eventually(lambda: all_sent(pool), what="all sent")
    assert await ids(kafka) == [f"cmd-{number}" for number in range(150)]


async def test_the_second_relay_takes_over(pool: Pool, kafka: Kafka, producer: Producer) -> None:
    async with kafka.producer() as other:
        async with relaying(pool, kafka, other):
            await put(pool, 1)
            await eventually(lambda: all_sent(pool), what="the first relay sends")
            first_has_the_lock = relaying(pool, kafka, producer)
            await first_has_the_lock.__aenter__()
        await put(pool, 2)
        await eventually(lambda: all_sent(pool), what="the second relay sends")
        await first_has_the_lock.__aexit__(None, None, None)
    assert await ids(kafka) == ["cmd-1", "cmd-2"]


def run_relay(settings: Settings, failpoints: str = "") -> int:
    """A relay as a process, to the end of the outbox or of its life; returns its exit status."""
    command_line = [sys.executable, "-m", "tests.integration.chassis.relay_program"]
    place = [settings.bootstrap_servers, settings.kafka.namespace, settings.postgres_dsn]
    environment = clean_environment(BACKOUT_FAILPOINTS=failpoints)
    return subprocess.run([*command_line, *place], env=environment, timeout=60, check=False).returncode


@pytest.mark.usefixtures("topics")
async def test_a_crash_between_send_and_mark_sends_again_with_the_same_ids(
    pool: Pool, kafka: Kafka, settings: Settings
) -> None:
    await put(pool, *range(5))
    assert await asyncio.to_thread(run_relay, settings, f"{SCHEMA}.outbox-sent=kill@3") == -signal.SIGKILL
    assert await ids(kafka) == ["cmd-0", "cmd-1", "cmd-2"]
    assert await unsent(pool) == 5
    assert await asyncio.to_thread(run_relay, settings) == 0
    sent = await ids(kafka)
    assert sent == [f"cmd-{number}" for number in (0, 1, 2, 0, 1, 2, 3, 4)]
    values = [record.value for record in await records_of(kafka, "commands")]
    assert values[:3] == values[3:6]


async def test_a_failure_between_two_sends_marks_what_was_sent(
    pool: Pool, kafka: Kafka, producer: Producer
) -> None:
    await put(pool, 1, 2, 3)
    stop = asyncio.Event()
    points = Failpoints.from_environment({"BACKOUT_FAILPOINTS": f"{SCHEMA}.outbox-sent=raise@2"})
    with pytest.raises(RuntimeError, match="outbox-sent"):
        await OutboxRelay(pool, OUTBOX, kafka, producer, points).run(stop)
    assert await unsent(pool) == 1
    async with relaying(pool, kafka, producer):
        await eventually(lambda: all_sent(pool), what="the rest is sent")
    assert await ids(kafka) == ["cmd-1", "cmd-2", "cmd-3"]


async def test_a_lost_connection_is_waited_for(pool: Pool, kafka: Kafka, producer: Producer) -> None:
    async with relaying(pool, kafka, producer):
        await put(pool, 1)
        await eventually(lambda: all_sent(pool), what="it relays")
        await pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await put(pool, 2)
        await eventually(lambda: all_sent(pool), what="it relays again")
    assert await ids(kafka) == ["cmd-1", "cmd-2"]


async def test_an_event_that_nobody_could_read_is_refused_before_it_blocks_the_rest(pool: Pool) -> None:
    huge = command(1).model_copy(update={"source": "x" * 1_000_001})
    async with pool.acquire() as connection:
        with pytest.raises(PermanentError, match=r"event cmd-1 has \d+ bytes"):
            await OUTBOX.put(connection, huge)
