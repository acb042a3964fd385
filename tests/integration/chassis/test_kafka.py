"""The typed face on the client: transactions, fencing, ranges, and errors that are ours."""

from __future__ import annotations

import asyncio

import pytest

from chassis.errors import DependencyUnavailable, Fenced
from chassis.kafka import Kafka, Producer, Record, TopicPartition, read_range
from chassis.lifecycle import kafka_probe
from chassis.settings import KafkaSettings
from tests.integration.chassis.parts import records_of


class Broken(Exception):
    """What the test raises within a transaction."""


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


async def test_names_take_the_namespace(kafka: Kafka, namespace: str) -> None:
    assert kafka.topic("triggers") == f"{namespace}backout.triggers.v1"
    assert kafka.group("executor") == f"{namespace}backout-executor"


async def test_a_send_says_where_the_record_is(kafka: Kafka, producer: Producer) -> None:
    first = await producer.send(kafka.topic("logs"), b"1", key=b"c", headers=[("h", b"v")])
    second = await producer.send(kafka.topic("logs"), b"2", key=b"c")
    assert (first.topic, first.partition, first.offset, second.offset) == (kafka.topic("logs"), 0, 0, 1)
    [record, _] = await records_of(kafka, "logs")
    assert (record.key, record.value, list(record.headers)) == (b"c", b"1", [("h", b"v")])
    assert record.timestamp == first.timestamp


async def test_what_is_enqueued_is_there_after_the_flush(kafka: Kafka, producer: Producer) -> None:
    sends = [await producer.enqueue(kafka.topic("logs"), b"%d" % number) for number in range(100)]
    await producer.flush()
    assert [(await send).offset for send in sends] == list(range(100))


@pytest.mark.usefixtures("topics")
async def test_a_transaction_is_whole_or_not_at_all(kafka: Kafka) -> None:
    topic = kafka.topic("triggers")

    async def send_and_fail(producer: Producer) -> None:
        async with producer.transaction():
            await producer.send(topic, b"2")
            raise Broken

    async with kafka.producer(transactional_id=kafka.group("monitor-0")) as producer:
        async with producer.transaction():
            await producer.send(topic, b"1")
        with pytest.raises(Broken):
            await send_and_fail(producer)
        async with producer.transaction():
            await producer.send(topic, b"3")
    assert values(await records_of(kafka, "triggers")) == [b"1", b"3"]


@pytest.mark.usefixtures("topics")
async def test_many_records_of_one_partition_go_together_and_in_their_order(kafka: Kafka) -> None:
    """In batches as they fit, between what is posted by itself; with the transaction, or not at all."""
    place = TopicPartition(kafka.topic("trigger-states"), 0)
    many = [(b"%d" % number, None if number % 7 == 0 else b"x" * 300) for number in range(400)]

    async def post(producer: Producer, *, fail: bool = False) -> None:
        async with producer.transaction():
            async with producer.acknowledged() as posted:
                posted.append(await producer.post(place.topic, b"first", key=b"a", partition=0))
                posted += await producer.post_all(place, many)
                posted.append(await producer.post(place.topic, b"last", key=b"z", partition=0))
            if fail:
                raise Broken

    async with kafka.producer(transactional_id=kafka.group("monitor-1"), max_batch_bytes=16_384) as producer:
        with pytest.raises(Broken):
            await post(producer, fail=True)
        await post(producer)
        assert await producer.post_all(place, []) == []
    found = [(record.key, record.value) for record in await records_of(kafka, "trigger-states")]
    assert found == [(b"a", b"first"), *many, (b"z", b"last")]


@pytest.mark.usefixtures("topics")
async def test_a_fenced_owner_learns_it_from_many_records_too(kafka: Kafka) -> None:
    place, owner = TopicPartition(kafka.topic("trigger-states"), 0), kafka.group("monitor-0")

    async def post(producer: Producer) -> None:
        async with producer.transaction(), producer.acknowledged() as posted:
            posted += await producer.post_all(place, [(b"k", b"v")] * 100)

    async with kafka.producer(transactional_id=owner) as former:
        await post(former)
        async with kafka.producer(transactional_id=owner) as successor:
            await post(successor)
            with pytest.raises(Fenced):
                await post(former)


@pytest.mark.usefixtures("topics")
async def test_a_range_may_end_in_what_holds_no_record(kafka: Kafka) -> None:
    """Markers of transactions take offsets: a range that ends at one is read to its end."""
    place = TopicPartition(kafka.topic("triggers"), 0)
    async with kafka.producer(transactional_id=kafka.group("monitor-0")) as producer:
        async with producer.transaction():
            first = await producer.send(place.topic, b"1")
        async with kafka.reader(place) as reader:
            end = (await reader.end_offsets([place]))[place]
    assert end == first.offset + 2
    found: list[Record] = []
    await read_range(kafka, place, 0, end - 1, each=found.append, timeout_s=10)
    assert values(found) == [b"1"]


async def test_a_range_is_read_between_its_ends(kafka: Kafka, producer: Producer) -> None:
    place = TopicPartition(kafka.topic("logs"), 0)
    for number in range(10):
        await producer.send(place.topic, b"%d" % number)
    found: list[Record] = []
    await read_range(kafka, place, 3, 5, each=found.append)
    assert values(found) == [b"3", b"4", b"5"]
    found.clear()
    await read_range(kafka, place, 4, 3, each=found.append)
    assert found == []


async def test_a_range_that_is_not_there_is_an_error(kafka: Kafka, producer: Producer) -> None:
    place = TopicPartition(kafka.topic("logs"), 0)
    await producer.send(place.topic, b"0")
    with pytest.raises(DependencyUnavailable, match="was not read to 7"):
        await read_range(kafka, place, 0, 7, each=lambda _: None, timeout_s=0.5)


@pytest.mark.usefixtures("topics")
async def test_a_successor_fences_the_former_owner(kafka: Kafka) -> None:
    topic, name = kafka.topic("triggers"), kafka.group("monitor-0")
    async with kafka.producer(transactional_id=name) as former:
        async with former.transaction():
            await former.send(topic, b"1")
        async with kafka.producer(transactional_id=name) as successor:
            with pytest.raises(Fenced):
                async with former.transaction():
                    await former.send(topic, b"too late")
            async with successor.transaction():
                await successor.send(topic, b"2")
    assert values(await records_of(kafka, "triggers")) == [b"1", b"2"]


async def test_a_group_goes_on_where_it_committed(kafka: Kafka, producer: Producer) -> None:
    topic, group = kafka.topic("commands"), kafka.group("test")
    for number in range(4):
        await producer.send(topic, b"%d" % number)
    place = TopicPartition(topic, 0)
    async with kafka.consumer(topic, group=group, instance="1") as consumer:
        while not consumer.assignment():
            await consumer.getmany(timeout_ms=50)
        assert await consumer.committed(place) is None
        await consumer.commit({place: 2})
    async with kafka.consumer(topic, group=group, instance="1") as consumer:
        found: list[bytes | None] = []
        while len(found) < 2:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [record.value for record in records]
        assert await consumer.committed(place) == 2
    assert found == [b"2", b"3"]


@pytest.fixture
def nobody(unused_tcp_port: int) -> Kafka:
    """A cluster that is not there."""
    return Kafka(f"127.0.0.1:{unused_tcp_port}", KafkaSettings(), client_id="test")


async def test_a_broker_that_is_not_there_is_waited_for_and_then_named(nobody: Kafka) -> None:
    with pytest.raises(DependencyUnavailable, match=r"no answer from Kafka at 127\.0\.0\.1:"):
        await nobody.wait_until_reachable(timeout_s=0.3)


async def test_the_probe_tells_whether_the_brokers_answer(kafka: Kafka, nobody: Kafka) -> None:
    assert await kafka_probe(kafka)() is None
    answer = await asyncio.wait_for(kafka_probe(nobody)(), timeout=10)
    assert answer is not None
    assert answer.startswith("no answer from Kafka at 127.0.0.1:")
