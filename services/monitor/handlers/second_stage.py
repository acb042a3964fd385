"""The second stage's loop: read its topic, decide, and let time pass where somebody waits for it.

The topic has one partition, and the group says which process has it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from chassis.clock import Clock
from chassis.kafka import Consumer, Record, TopicPartition
from services.monitor.handlers.compound import CompoundPartition
from services.monitor.handlers.handovers import Handovers

log = structlog.get_logger(__name__)
TakeOverStage = Callable[[TopicPartition], Awaitable[CompoundPartition]]
MAX_RECORDS = 500
"""Records that one transaction may lead to."""


class SecondStage(Handovers[CompoundPartition]):
    """Owns a topic of the second stage while the group gives it to this process."""

    def __init__(self, take_over: TakeOverStage, clock: Clock) -> None:
        super().__init__(max_records=MAX_RECORDS)
        self._take_over = take_over
        self._clock = clock

    async def _begin(self, place: TopicPartition) -> CompoundPartition:
        partition = await self._take_over(place)
        try:
            await partition.begin()
        except BaseException:
            await partition.close()
            raise
        log.info("deciding compound triggers", topic=place.topic, next_offset=partition.next_offset)
        return partition

    async def _turn(self, consumer: Consumer, fetched: Mapping[TopicPartition, Sequence[Record]]) -> None:
        for place, records in fetched.items():
            await self._owned[place].take(records, self._clock.now().timestamp())
        for place, partition in self._owned.items():
            if not fetched.get(place):
                await partition.write_rest()
        await self._let_time_pass(consumer)

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
