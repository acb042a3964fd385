"""Deciding about triggers while their partition moves between executors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from chassis.errors import NotAssigned
from chassis.failpoints import Failpoints
from chassis.inbox import Inbox
from chassis.kafka import Consumer, Kafka, TopicPartition
from chassis.postgres import Pool, migrate, open_pool
from chassis.settings import Settings
from services.executor.adapters.request_store import RequestStore
from services.executor.handlers.intake import TriggerIntake
from services.executor.handlers.request_desk import RequestDesk
from services.executor.main import MIGRATIONS, SCHEMA
from tests.polling import eventually


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    async with open_pool(settings, "test") as opened:
        await migrate(opened, SCHEMA, MIGRATIONS)
        yield opened


@dataclass
class LosesItsPartition:
    """A real consumer, whose partition a newcomer to the group takes between two questions."""

    consumer: Consumer
    newcomers: Kafka
    group: str
    joined: contextlib.AsyncExitStack
    raised: list[str] = field(default_factory=list)

    def assignment(self) -> frozenset[TopicPartition]:
        return self.consumer.assignment()

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        ends = await self.consumer.end_offsets(partitions)
        topic = partitions[0].topic
        await self.joined.enter_async_context(self.newcomers.consumer(topic, group=self.group))

        async def is_gone() -> bool:
            return not self.consumer.assignment()

        await eventually(is_gone, what="the newcomer has the partition", timeout_s=30)
        return ends

    async def position(self, partition: TopicPartition) -> int:
        try:
            return await self.consumer.position(partition)
        except NotAssigned as error:
            self.raised.append(str(error))
            raise


async def test_a_rebalance_between_two_questions_is_no_error_and_is_decided_later(
    settings: Settings,
    kafka: Kafka,
    topics: None,  # noqa: ARG001 - they have to be there
    pool: Pool,
) -> None:
    read_to_end = asyncio.Event()
    accepted: list[None] = []
    intake = TriggerIntake(
        pool,
        Inbox(SCHEMA),
        RequestStore(pool),
        cast("RequestDesk", None),  # there is nothing to decide about
        Failpoints({}),
        accepted=lambda: accepted.append(None),
        read_to_end=read_to_end,
        stop=asyncio.Event(),
    )
    topic, group = kafka.topic("triggers"), kafka.group("executor-triggers")
    # Partitions are given out in the order of the members' names: the newcomer is the first.
    newcomers = Kafka(settings.bootstrap_servers, settings.kafka, client_id="a")
    async with kafka.consumer(topic, group=group) as consumer:

        async def is_assigned() -> bool:
            await consumer.getmany(timeout_ms=50)
            return bool(consumer.assignment())

        await eventually(is_assigned, what="the partition is given", timeout_s=30)
        async with contextlib.AsyncExitStack() as joined:
            moving = LosesItsPartition(consumer, newcomers, group, joined)
            await intake.decide(moving)
            assert len(moving.raised) == 1
            assert not read_to_end.is_set()
        await eventually(is_assigned, what="the partition is given back", timeout_s=30)
        await intake.decide(consumer)

    assert read_to_end.is_set()
    assert accepted == [None]
