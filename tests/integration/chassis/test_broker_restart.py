"""A broker that goes away and comes back is waited for: nothing is lost, nothing gives up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chassis.consume import Received, consume_events
from chassis.dead_letters import DeadLetters
from chassis.embedded.kafka import EmbeddedKafka
from chassis.kafka import Kafka
from chassis.kafka_admin import ensure_topics
from chassis.lifecycle import kafka_probe
from chassis.outbox import Outbox, OutboxRelay
from chassis.postgres import Pool
from chassis.settings import KafkaSettings
from tests.conftest import CACHE_DIR
from tests.integration.chassis.parts import SCHEMA, command
from tests.polling import eventually


async def put(pool: Pool, number: int) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await Outbox(SCHEMA).put(connection, command(number))


@pytest.mark.usefixtures("tables")
async def test_relay_and_consumer_go_on_after_the_broker_was_restarted(pool: Pool, tmp_path: Path) -> None:
    broker = EmbeddedKafka(tmp_path / "kafka", cache_dir=CACHE_DIR)
    await asyncio.to_thread(broker.start)
    try:
        settings = KafkaSettings(session_timeout_ms=3_000)
        kafka = Kafka(broker.bootstrap_servers, settings, client_id="test")
        await ensure_topics(kafka)
        stop, seen = asyncio.Event(), list[str]()

        async def handle(item: Received) -> None:
            seen.append(item.event.id)

        async def has_seen(*ids: str) -> bool:
            return list(dict.fromkeys(seen)) == list(ids)

        topic, group = kafka.topic("commands"), kafka.group("test")
        async with (
            kafka.producer() as producer,
            kafka.consumer(topic, group=group, instance="1") as consumer,
        ):
            letters = DeadLetters(producer, topic=kafka.topic("dead-letter"), consumer="test", limit=1)
            tasks = [
                asyncio.create_task(OutboxRelay(pool, Outbox(SCHEMA), kafka, producer).run(stop)),
                asyncio.create_task(consume_events(consumer, handle, letters, stop=stop)),
            ]
            await put(pool, 1)
            await eventually(lambda: has_seen("cmd-1"), what="the first event has arrived")
            await asyncio.to_thread(broker.stop)
            assert await kafka_probe(kafka)() is not None
            await put(pool, 2)
            await asyncio.to_thread(broker.start)
            assert kafka.bootstrap_servers == broker.bootstrap_servers
            await put(pool, 3)
            await eventually(
                lambda: has_seen("cmd-1", "cmd-2", "cmd-3"), what="the others have arrived", timeout_s=60
            )
            assert await kafka_probe(kafka)() is None
            stop.set()
            await asyncio.wait_for(asyncio.gather(*tasks), timeout=30)
    finally:
        await asyncio.to_thread(broker.stop)
