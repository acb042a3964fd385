"""Ingest's loop: read a foreign topic in a group of its own and translate it, partition by partition."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from chassis.kafka import Consumer, Record, TopicPartition
from services.monitor.handlers.handovers import Handovers
from services.monitor.handlers.origin import OriginPartition

log = structlog.get_logger(__name__)
TakeOverOrigin = Callable[[TopicPartition], Awaitable[OriginPartition]]


class Ingest(Handovers[OriginPartition]):
    """Owns the partitions of one foreign topic that the group gives this process."""

    def __init__(self, source: str, take_over: TakeOverOrigin, *, max_records: int) -> None:
        super().__init__(max_records=max_records)
        self._source = source
        self._take_over = take_over

    async def _begin(self, place: TopicPartition) -> OriginPartition:
        partition = await self._take_over(place)
        log.info(
            "translating",
            source=self._source,
            topic=place.topic,
            partition=place.partition,
            next_offset=partition.next_offset,
        )
        return partition

    async def _turn(self, consumer: Consumer, fetched: Mapping[TopicPartition, Sequence[Record]]) -> None:
        for place, records in fetched.items():
            await self._owned[place].take(records)
