"""Working on the partitions that a consumer group hands out, each only while this process has it.

One is worked on only between being given and being taken away; both happen under the lock that
every turn of the loop holds, and what was fetched before a hand-over is read again after it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from chassis.kafka import Consumer, Record, TopicPartition

POLL_MS = 200


class Owned(Protocol):
    """A partition in the hands of this process."""

    next_offset: int

    async def close(self) -> None:
        """Let go."""


P = TypeVar("P", bound=Owned)


class Handovers(ABC, Generic[P]):
    """A loop over the partitions that the group gives this process, at most ``max_records`` a turn."""

    def __init__(self, *, max_records: int) -> None:
        self._max_records = max_records
        self._given: set[TopicPartition] = set()
        self._owned: dict[TopicPartition, P] = {}
        self._lock = asyncio.Lock()
        self._handovers = 0
        self._consumer: Consumer | None = None

    @abstractmethod
    async def _begin(self, place: TopicPartition) -> P:
        """Take a partition over."""

    @abstractmethod
    async def _turn(self, consumer: Consumer, fetched: Mapping[TopicPartition, Sequence[Record]]) -> None:
        """Work on what was fetched; nothing may be left under way."""

    def attach(self, consumer: Consumer) -> None:
        """The consumer is made after its listener, which this is."""
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Let go. Nothing is under way: a turn waits for its transaction, if it has one."""
        async with self._lock:
            self._handovers += 1
            self._given -= set(revoked)
            for place in [place for place in self._owned if place in revoked]:
                await self._owned.pop(place).close()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Only note it: the loop takes over, where an error ends the work instead of a log line."""
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
                    if handovers == self._handovers:
                        await self._turn(consumer, fetched)
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
                self._owned[place] = await self._begin(place)
            for place, partition in self._owned.items():
                consumer.seek(place, partition.next_offset)
            return handovers
