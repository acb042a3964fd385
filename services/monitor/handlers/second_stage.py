"""The second stage's loop: read its topic, decide, and let time pass where somebody waits for it.

The topic has one partition, and the group says which process has it. As in ``ingest``, it is worked
on only between being given and being taken away, under the lock that every turn of the loop holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from chassis.clock import Clock
from chassis.kafka import Consumer, TopicPartition
from services.monitor.handlers.compound import CompoundPartition

log = structlog.get_logger(__name__)
TakeOverStage = Callable[[TopicPartition], Awaitable[CompoundPartition]]
POLL_MS = 200
MAX_RECORDS = 500
"""Records that one transaction may lead to."""


class SecondStage:
    """Owns a topic of the second stage while the group gives it to this process."""

    def __init__(self, take_over: TakeOverStage, clock: Clock) -> None:
        self._take_over = take_over
        self._clock = clock
        self._given: set[TopicPartition] = set()
        self._owned: dict[TopicPartition, CompoundPartition] = {}
        self._lock = asyncio.Lock()
        self._handovers = 0
        self._consumer: Consumer | None = None

    def attach(self, consumer: Consumer) -> None:
        """The consumer is made after its listener, which this is."""
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Let go. Nothing is under way: a turn ends with its transaction."""
        async with self._lock:
            self._handovers += 1
            self._given -= set(revoked)
            for place in revoked:
                partition = self._owned.pop(place, None)
                if partition is not None:
                    await partition.close()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Only note it: what goes wrong while taking over has to end the service, and here the client
        would only log it."""
        self._handovers += 1
        self._given |= set(assigned)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set. Raises what ended the work otherwise."""
        consumer = self._consumer
        if consumer is None:
            raise RuntimeError("attach() comes first")
        try:
            handovers = -1
            while not stop.is_set():
                if handovers != self._handovers:
                    handovers = await self._settle(consumer)
                fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_RECORDS)
                async with self._lock:
                    if handovers != self._handovers:
                        continue
                    for place, records in fetched.items():
                        await self._owned[place].take(records, self._clock.now().timestamp())
                    await self._let_time_pass(consumer)
        finally:
            for partition in self._owned.values():
                await partition.close()
            self._owned.clear()

    async def _settle(self, consumer: Consumer) -> int:
        """Take over what is new, and place the consumer where each topic goes on."""
        async with self._lock:
            handovers = self._handovers
            for place in sorted(self._given - self._owned.keys()):
                self._owned[place] = await self._take_over(place)
                await self._owned[place].begin()
                log.info(
                    "deciding compound triggers",
                    topic=place.topic,
                    next_offset=self._owned[place].next_offset,
                )
            for place, partition in self._owned.items():
                consumer.seek(place, partition.next_offset)
            return handovers

    async def _let_time_pass(self, consumer: Consumer) -> None:
        """The clock counts only where nothing is left to read: what is there comes first."""
        now = self._clock.now().timestamp()
        waiting = {
            place: partition
            for place, partition in self._owned.items()
            if partition.due is not None and partition.due <= now
        }
        if not waiting:
            return
        ends = await consumer.end_offsets(waiting)
        for place, partition in waiting.items():
            if await consumer.position(place) >= ends[place]:
                await partition.pass_time(now)
