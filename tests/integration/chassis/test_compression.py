"""What others compress can be read: the broker packs a topic's batches as its ``compression.type`` says."""

from __future__ import annotations

import pytest

from chassis.kafka import Kafka, Record, TopicPartition, read_range
from chassis.kafka_admin import ensure_own_topic
from chassis.plain_records import PlainRecord

LARGE = b"".join(b"%d;" % (number * number) for number in range(60_000))


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_records_of_a_compressed_topic_are_read(kafka: Kafka, codec: str) -> None:
    topic = kafka.group(f"packed-{codec}")
    await ensure_own_topic(kafka, topic, partitions=1, config={"compression.type": codec})
    values = [b"%d" % number * 50 for number in range(200)] + [LARGE, b""]
    async with kafka.producer(linger_ms=20) as producer:
        sent = [await producer.enqueue(topic, value, headers=[("h", value[:9])]) for value in values]
        for task in sent:
            await task
    read: list[Record] = []
    place = TopicPartition(topic, 0)
    await read_range(kafka, place, 0, len(values) - 1, each=read.append, timeout_s=20)
    assert [record.value for record in read] == values
    assert [dict(record.headers)["h"] for record in read] == [value[:9] for value in values]
    async with kafka.consumer(topic, plain=True) as consumer:
        plain: list[PlainRecord] = []
        while len(plain) < len(values):
            plain += (await consumer.getmany_plain(timeout_ms=200)).get(place, ())
    assert [record.value for record in plain] == values
    # From within a batch, as after a restart.
    del read[:]
    await read_range(kafka, place, 77, 80, each=read.append, timeout_s=20)
    assert [record.value for record in read] == values[77:81]
