"""Events are handed over in order and acknowledged after their effect; what is unreadable goes aside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from chassis.consume import Received, consume_events
from chassis.dead_letters import DeadLetters
from chassis.errors import NotAssigned, TooManyDeadLetters, Unreadable
from chassis.kafka import MAX_REQUEST_BYTES, Consumer, Kafka, Producer, TopicPartition
from chassis.settings import Settings
from schemas.dead_letters import DeadLetterPlace
from tests.integration.chassis.parts import command, records_of
from tests.polling import eventually


class Broken(Exception):
    """What no one expected."""


@dataclass
class Seen:
    """A handler that notes the ids, and fails where it is told to."""

    fail_at: str = ""
    error: Exception | None = None
    ids: list[str] = field(default_factory=list)

    async def handle(self, item: Received) -> None:
        if item.event.id == self.fail_at and self.error is not None:
            raise self.error
        self.ids.append(item.event.id)


@dataclass
class Loop:
    """A consumer's loop as a service runs it."""

    kafka: Kafka
    producer: Producer
    limit: int = 100
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.asynccontextmanager
    async def consumer(self) -> AsyncIterator[Consumer]:
        group = self.kafka.group("test")
        async with self.kafka.consumer(self.kafka.topic("commands"), group=group, instance="1") as consumer:
            yield consumer

    async def run(self, consumer: Consumer, seen: Seen) -> None:
        letters = DeadLetters(
            self.producer, topic=self.kafka.topic("dead-letter"), consumer="test", limit=self.limit
        )
        await consume_events(consumer, seen.handle, letters, stop=self.stop)

    async def run_until(self, seen: Seen, condition: Callable[[], bool]) -> None:
        """Run until ``condition`` holds, then stop as a service does."""

        async def holds() -> bool:
            return condition() or running.done()

        self.stop.clear()
        async with self.consumer() as consumer:
            running = asyncio.create_task(self.run(consumer, seen))
            await eventually(holds, what="the loop has come there")
            self.stop.set()
            await running

    async def committed(self) -> int | None:
        async with self.consumer() as consumer:
            return await consumer.committed(TopicPartition(self.kafka.topic("commands"), 0))

    async def publish(self, *values: bytes | None) -> None:
        for value in values:
            await self.producer.send(self.kafka.topic("commands"), value, key=b"full_system")


@pytest.fixture
def loop(kafka: Kafka, producer: Producer) -> Loop:
    return Loop(kafka, producer)


async def test_events_are_handed_over_in_order_and_acknowledged(loop: Loop) -> None:
    await loop.publish(*(command(number).to_bytes() for number in range(20)))
    seen = Seen()
    await loop.run_until(seen, lambda: len(seen.ids) == 20)
    assert seen.ids == [f"cmd-{number}" for number in range(20)]
    assert await loop.committed() == 20


BAD: list[tuple[bytes | None, str]] = [
    (None, "empty"),
    (b"", "empty"),
    (b"\xff\xfe", "invalid_json"),
    (command(1).to_bytes()[:-20], "invalid_json"),
    (b"[" * 10_000, "invalid_json"),
    (b'{"specversion": "1.0", "type": "io.backout.commands.pause.v9"}', "unknown_version"),
    (b'{"specversion": "1.0", "type": "com.example.other"}', "unknown_type"),
]


async def test_what_is_unreadable_goes_aside_with_its_place_and_the_rest_goes_on(
    loop: Loop, kafka: Kafka
) -> None:
    await loop.publish(command(0).to_bytes(), *(value for value, _ in BAD), command(1).to_bytes())
    seen = Seen()
    await loop.run_until(seen, lambda: len(seen.ids) == 2)
    assert seen.ids == ["cmd-0", "cmd-1"]
    assert await loop.committed() == len(BAD) + 2
    letters = await records_of(kafka, "dead-letter")
    assert [letter.value for letter in letters] == [value for value, _ in BAD]
    assert {letter.key for letter in letters} == {b"full_system"}
    places = [DeadLetterPlace.from_headers(list(letter.headers)) for letter in letters]
    assert [place.reason for place in places] == [reason for _, reason in BAD]
    assert [place.offset for place in places] == list(range(1, len(BAD) + 1))
    assert {(place.topic, place.partition, place.consumer) for place in places} == {
        (kafka.topic("commands"), 0, "test")
    }
    assert all(place.error for place in places)


async def test_a_handler_may_find_an_event_unreadable(loop: Loop, kafka: Kafka) -> None:
    await loop.publish(*(command(number).to_bytes() for number in range(3)))
    seen = Seen(fail_at="cmd-1", error=Unreadable("id_reused", "cmd-1 had another body"))
    await loop.run_until(seen, lambda: len(seen.ids) == 2)
    assert seen.ids == ["cmd-0", "cmd-2"]
    [letter] = await records_of(kafka, "dead-letter")
    assert DeadLetterPlace.from_headers(list(letter.headers)).reason == "id_reused"


async def test_an_unexpected_error_stops_the_loop_and_acknowledges_nothing(loop: Loop, kafka: Kafka) -> None:
    await loop.publish(*(command(number).to_bytes() for number in range(3)))
    with pytest.raises(Broken):
        await loop.run_until(Seen(fail_at="cmd-1", error=Broken()), lambda: False)
    assert await loop.committed() is None
    assert await records_of(kafka, "dead-letter") == []
    after = Seen()
    await loop.run_until(after, lambda: len(after.ids) == 3)
    assert after.ids == ["cmd-0", "cmd-1", "cmd-2"]


async def test_too_many_in_a_row_stop_the_loop_before_the_topic_is_drained(loop: Loop, kafka: Kafka) -> None:
    loop.limit = 3
    await loop.publish(*[b"no json"] * 10)
    with pytest.raises(TooManyDeadLetters, match=r"3 unreadable records in a row .* at offset 3"):
        await loop.run_until(Seen(), lambda: False)
    assert len(await records_of(kafka, "dead-letter")) == 3
    assert await loop.committed() is None


async def test_a_good_one_in_between_begins_the_count_anew(loop: Loop, kafka: Kafka) -> None:
    loop.limit = 3
    for number in range(4):
        await loop.publish(*[b"no json"] * 3, command(number).to_bytes())
    seen = Seen()
    await loop.run_until(seen, lambda: len(seen.ids) == 4)
    assert len(await records_of(kafka, "dead-letter")) == 12
    assert await loop.committed() == 16


async def test_a_stop_within_a_batch_acknowledges_what_was_done(loop: Loop) -> None:
    await loop.publish(*(command(number).to_bytes() for number in range(10)))

    class StopAtTheThird(Seen):
        async def handle(self, item: Received) -> None:
            await super().handle(item)
            if len(self.ids) == 3:
                loop.stop.set()

    seen = StopAtTheThird()
    async with loop.consumer() as consumer:
        await loop.run(consumer, seen)
    assert seen.ids == ["cmd-0", "cmd-1", "cmd-2"]
    assert await loop.committed() == 3


async def test_the_largest_record_with_the_largest_key_can_be_set_aside(
    loop: Loop, kafka: Kafka, producer: Producer
) -> None:
    key, value = b"k" * 500_000, b"\xff" * (MAX_REQUEST_BYTES - 501_000)
    await producer.send(kafka.topic("commands"), value, key=key)
    await loop.publish(command(1).to_bytes())
    seen = Seen()
    await loop.run_until(seen, lambda: seen.ids == ["cmd-1"])
    [letter] = await records_of(kafka, "dead-letter")
    assert letter.value == value
    assert letter.key == key[:4_096]


async def test_a_bad_batch_counts_once_and_is_kept_once(kafka: Kafka, producer: Producer) -> None:
    letters = DeadLetters(producer, topic=kafka.topic("dead-letter"), consumer="test", limit=2)
    for _ in range(3):
        await producer.send(kafka.topic("logs"), b"a batch of a thousand")
    first, second, third = await records_of(kafka, "logs")
    for record in (first, second):
        for item in range(1_000):
            await letters.put(record, reason="invalid_sample", error="no number", item=item)
    assert (letters.in_a_row, letters.total) == (2, 2_000)
    with pytest.raises(TooManyDeadLetters):
        await letters.put(third, reason="invalid_sample", error="no number", item=0)
    written = await records_of(kafka, "dead-letter")
    places = [DeadLetterPlace.from_headers(list(letter.headers)) for letter in written]
    assert [(place.offset, place.item) for place in places] == [
        (offset, item) for offset in (0, 1) for item in range(20)
    ]
    whole = b"a batch of a thousand"
    assert [letter.value for letter in written] == [whole, *[b""] * 19, whole, *[b""] * 19]


@dataclass(frozen=True)
class Nothing:
    """A record of neither key nor value, as other clients can write it and ours cannot."""

    topic: str = "backout.commands.v1"
    partition: int = 0
    offset: int = 5
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


async def test_a_record_of_nothing_can_be_set_aside(kafka: Kafka, producer: Producer) -> None:
    letters = DeadLetters(producer, topic=kafka.topic("dead-letter"), consumer="test", limit=1)
    await letters.put(Nothing(), reason="empty", error="the record has no value")
    [letter] = await records_of(kafka, "dead-letter")
    assert letter.value == b""
    assert DeadLetterPlace.from_headers(list(letter.headers)).offset == 5


async def test_a_long_error_in_any_script_fits_into_the_headers(kafka: Kafka, producer: Producer) -> None:
    letters = DeadLetters(producer, topic=kafka.topic("dead-letter"), consumer="test", limit=1)
    await producer.send(kafka.topic("commands"), b"\xff" * (MAX_REQUEST_BYTES - 1_000))
    [record] = await records_of(kafka, "commands")
    await letters.put(record, reason="invalid_event", error="\U0001f525" * 10_000, item=7)
    [letter] = await records_of(kafka, "dead-letter")
    assert DeadLetterPlace.from_headers(list(letter.headers)).item == 7
    assert letter.value is not None
    assert len(letter.value) > MAX_REQUEST_BYTES - 20_000


async def test_a_commit_after_a_rebalance_is_refused_and_the_loop_goes_on(
    loop: Loop, kafka: Kafka, settings: Settings
) -> None:
    """The new owner reads again what the old one could not acknowledge any more."""
    await loop.publish(command(0).to_bytes())
    handling, go_on = asyncio.Event(), asyncio.Event()
    seen = Seen()

    async def slow(item: Received) -> None:
        handling.set()
        await go_on.wait()
        await seen.handle(item)

    # Partitions are given out in the order of the members' names: this one is the first.
    newcomer = Kafka(settings.bootstrap_servers, settings.kafka, client_id="a")
    letters = DeadLetters(loop.producer, topic=kafka.topic("dead-letter"), consumer="test", limit=1)
    topic, group = kafka.topic("commands"), kafka.group("test")
    read_again: list[bytes | None] = []
    async with contextlib.AsyncExitStack() as stack:
        consumer = await stack.enter_async_context(kafka.consumer(topic, group=group))
        running = asyncio.create_task(consume_events(consumer, slow, letters, stop=loop.stop))
        await asyncio.wait_for(handling.wait(), timeout=20)
        other = await stack.enter_async_context(newcomer.consumer(topic, group=group))

        async def other_has_read() -> bool:
            for records in (await other.getmany(timeout_ms=50)).values():
                read_again.extend(record.value for record in records)
            return bool(read_again)

        await eventually(other_has_read, what="the newcomer has the partition")
        go_on.set()

        async def handled() -> bool:
            return bool(seen.ids)

        await eventually(handled, what="the first owner has done it")
        with pytest.raises(NotAssigned):
            await consumer.commit({TopicPartition(topic, 0): 1})
        assert not running.done()
        loop.stop.set()
        await asyncio.wait_for(running, timeout=20)
    assert read_again == [command(0).to_bytes()]
