"""Plain records are what a consumer gives otherwise, without the place."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pytest

from chassis.kafka import Consumer, Kafka, Producer, TopicPartition
from chassis.plain_records import PlainRecord, placed
from tests.integration.chassis.parts import records_of


class Broken(Exception):
    """What the test raises within a transaction."""


async def _write(kafka: Kafka) -> None:
    """Committed and aborted transactions, and records that are in none."""
    topic = kafka.topic("triggers")

    async def transaction(producer: Producer, number: int) -> None:
        async with producer.transaction():
            for part in range(3):
                value = b"%d.%d" % (number, part)
                await producer.enqueue(topic, value, key=b"k", headers=[("part", b"%d" % part)])
            await producer.flush()
            if number % 2:
                raise Broken

    async with kafka.producer(transactional_id=kafka.group("monitor-0")) as producer:
        for number in range(6):
            with contextlib.suppress(Broken):
                await transaction(producer, number)
    async with kafka.producer() as plain:
        await plain.send(topic, None, key=b"k")
        await plain.send(topic, b"last")


async def _read(consumer: Consumer, place: TopicPartition, count: int) -> list[PlainRecord]:
    found: list[PlainRecord] = []
    while len(found) < count:
        fetched = await consumer.getmany_plain(timeout_ms=200, max_records=2)
        found += [record for of_place in fetched.values() for record in of_place]
        assert set(fetched) <= {place}
    return found


def _as_told(records: Sequence[PlainRecord]) -> list[tuple[object, ...]]:
    return [
        (each.offset, each.timestamp, each.key, each.value, tuple(each.headers or ())) for each in records
    ]


@pytest.mark.usefixtures("topics")
async def test_plain_records_are_those_of_any_consumer(kafka: Kafka) -> None:
    await _write(kafka)
    whole = await records_of(kafka, "triggers")
    assert [record.value for record in whole][-3:] == [b"4.2", None, b"last"]
    assert len(whole) == 11
    place = TopicPartition(kafka.topic("triggers"), 0)
    async with kafka.consumer(place.topic, plain=True) as consumer:
        assert _as_told(await _read(consumer, place, len(whole))) == _as_told(whole)
        # From within a batch, too.
        consumer.seek(place, whole[4].offset)
        assert _as_told(await _read(consumer, place, len(whole) - 4)) == _as_told(whole[4:])
        consumer.seek(place, whole[0].offset)
        [first, *_] = await _read(consumer, place, len(whole))
    assert placed(first, place.topic, 0).topic == whole[0].topic
    assert placed(first, place.topic, 0).value == whole[0].value
