"""Two members of one name: the one that came first is told, and leaves the place to the other."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from chassis.kafka import Consumer, Kafka
from chassis.kafka_admin import inspect_groups
from chassis.kafka_membership import InstanceNameTaken
from chassis.settings import Settings
from tests.polling import eventually

pytestmark = pytest.mark.usefixtures("topics")


@pytest.fixture
def other(settings: Settings) -> Kafka:
    """What another process of the same name has."""
    return Kafka.of(settings, "other")


def joined(kafka: Kafka) -> contextlib.AbstractAsyncContextManager[Consumer]:
    return kafka.consumer(kafka.topic("commands"), group=kafka.group("test"), instance="one")


@contextlib.asynccontextmanager
async def polling(consumer: Consumer) -> AsyncIterator[asyncio.Task[None]]:
    async def poll() -> None:
        while True:
            await consumer.getmany(timeout_ms=50)

    running = asyncio.create_task(poll())
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def freeze(seconds: float) -> None:
    """Nothing of this process goes on, for longer than its session."""
    time.sleep(seconds)


def generation_of(consumer: Consumer) -> tuple[int, str]:
    coordinator = consumer._inner._coordinator
    return coordinator.generation, coordinator.member_id


async def test_the_first_is_told_and_the_second_stays(kafka: Kafka, other: Kafka) -> None:
    async with (
        joined(kafka) as first,
        polling(first) as polls_first,
        joined(other) as second,
        polling(second) as polls_second,
    ):
        place = generation_of(second)
        with pytest.raises(InstanceNameTaken) as told:
            await asyncio.wait_for(polls_first, 20)
        which = f"'one' of the group {kafka.group('test')}"
        assert f"BACKOUT_INSTANCE: another process has taken this one's place: {which}. " in str(told.value)
        assert "Give each process of a service a name of its own" in str(told.value)

        # It does not come back, be it that it goes on to poll or begins with another consumer.
        with pytest.raises(InstanceNameTaken):
            await asyncio.wait_for(first.getmany(timeout_ms=20_000), 10)
        with pytest.raises(InstanceNameTaken):
            async with joined(kafka):
                pass
        assert second.assignment()
        assert generation_of(second) == place
        assert not polls_second.done()


async def test_a_commit_of_the_first_takes_nothing_back(kafka: Kafka, other: Kafka) -> None:
    async with joined(kafka) as first:
        places = first.assignment()
        async with joined(other) as second, polling(second) as polls_second:
            place = generation_of(second)
            assert not await first.try_commit(dict.fromkeys(places, 0))
            with pytest.raises(InstanceNameTaken):
                await asyncio.wait_for(first.getmany(timeout_ms=20_000), 20)
            assert generation_of(second) == place
            assert not polls_second.done()


async def test_a_later_consumer_of_the_process_has_the_place_again(kafka: Kafka, other: Kafka) -> None:
    async with joined(kafka) as first:
        _, member = generation_of(first)
    async with joined(kafka) as second:
        assert generation_of(second)[1] == member
    # So has a process that is started anew, which nobody was told of.
    async with joined(other) as third:
        assert third.assignment()


async def test_a_session_that_has_run_out_is_no_name_that_was_taken(kafka: Kafka) -> None:
    async with joined(kafka) as first:
        _, member = generation_of(first)

    async def is_forgotten() -> bool:
        [group] = await inspect_groups(kafka, prefix=kafka.group("test"))
        return not group.members

    await eventually(is_forgotten, timeout_s=20, what="the session runs out")
    async with joined(kafka) as second, polling(second) as polls:
        assert generation_of(second)[1] != member
        _, member = generation_of(second)
        freeze(4.5)

        async def is_back() -> bool:
            return generation_of(second)[1] not in (member, "") and bool(second.assignment())

        await eventually(is_back, timeout_s=20, what="it has joined anew")
        assert not polls.done()
