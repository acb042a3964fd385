"""Ingest's loop: read a foreign topic in a group of its own and translate it, partition by partition.

The group hands partitions out. As in ``watch``, one is worked on only between being given and being
taken away; both happen under the lock that every turn of the loop holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from chassis.kafka import Consumer, TopicPartition
from services.monitor.handlers.origin import OriginPartition

log = structlog.get_logger(__name__)
TakeOverOrigin = Callable[[TopicPartition], Awaitable[OriginPartition]]
POLL_MS = 200


class Ingest:
    """Owns the partitions of one foreign topic that the group gives this process."""

    def __init__(self, source: str, take_over: TakeOverOrigin, *, max_records: int) -> None:
        self._source = source
        self._take_over = take_over
        self._max_records = max_records
        self._given: set[TopicPartition] = set()
        self._owned: dict[TopicPartition, OriginPartition] = {}
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
            for place in [place for place in self._owned if place in revoked]:
                await self._owned.pop(place).close()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Only note it: the loop takes over, where an error ends the service instead of a log line."""
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
                fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._max_records)
                async with self._lock:
                    if handovers != self._handovers:
                        continue
                    for place, records in fetched.items():
                        await self._owned[place].take(records)
        finally:
            await asyncio.gather(*(partition.close() for partition in self._owned.values()))
            self._owned.clear()

    async def _settle(self, consumer: Consumer) -> int:
        """Take over what is new, and place the consumer where each owned partition goes on.

        What the client calls its assignment still holds what was taken away, until the group has
        settled: taking that over would fence its new owner.
        """
        async with self._lock:
            handovers = self._handovers
            for place in sorted(self._given - self._owned.keys()):
                self._owned[place] = await self._take_over(place)
                log.info(
                    "translating",
                    source=self._source,
                    topic=place.topic,
                    partition=place.partition,
                    next_offset=self._owned[place].next_offset,
                )
            for place, partition in self._owned.items():
                consumer.seek(place, partition.next_offset)
            return handovers
