"""The log as evidence: where ranges begin and end, and what is in them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime

from chassis.kafka import Consumer, Kafka, Record, TopicPartition, partition_for_key, read_range
from schemas.topics import TopicId, all_topics
from services.analyzer.domain.evidence import CONTROL_TOPICS, EvidenceRecord

CONTROL: tuple[TopicId, ...] = ("triggers", "commands", "rollbacks", "notifications")
_READ_TIMEOUT_S = 300.0


class Log:
    """Reads ranges of the log, outside any consumer group."""

    def __init__(self, kafka: Kafka, places: Consumer) -> None:
        self._kafka = kafka
        self._places = places
        self.control_topics = [kafka.topic(topic) for topic in CONTROL]
        self.followed_topics = [*self.control_topics, kafka.topic("incidents")]
        self._kinds = {kafka.topic(topic): topic for topic in (*CONTROL, "metrics", "logs")}

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, kafka: Kafka) -> AsyncIterator[Log]:
        """Connect; the reader that knows the places fetches nothing."""
        partitions = [
            TopicPartition(kafka.topic(topic), number)
            for topic in (*CONTROL, "incidents", "metrics", "logs")
            for number in range(all_topics()[topic].partitions)
        ]
        async with kafka.reader(*partitions) as places:
            places.pause(*partitions)
            yield cls(kafka, places)

    def kind_of(self, topic: str) -> str:
        """The short id of a topic, by its name on the broker."""
        return self._kinds[topic]

    def metrics_partition(self, component: str) -> TopicPartition:
        """Where the samples of a component are, by its key."""
        count = all_topics()["metrics"].partitions
        return TopicPartition(self._kafka.topic("metrics"), partition_for_key(component.encode(), count))

    def metrics(self, partition: int) -> TopicPartition:
        return TopicPartition(self._kafka.topic("metrics"), partition)

    @property
    def logs(self) -> TopicPartition:
        return TopicPartition(self._kafka.topic("logs"), 0)

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after the last committed record of each partition."""
        return await self._places.end_offsets(list(partitions))

    async def begins(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset that each partition still holds."""
        return await self._places.beginning_offsets(list(partitions))

    async def first_at(self, partition: TopicPartition, time: datetime) -> int:
        """The first offset at or after a time; the partition's end where there is none."""
        # Kafka takes no time before 1970, and an incident's look-back may reach there.
        found = await self._places.offsets_for_times({partition: max(0, int(time.timestamp() * 1000))})
        offset = found.get(partition)
        return (await self.ends([partition]))[partition] if offset is None else offset

    async def read(
        self,
        partition: TopicPartition,
        first: int,
        last: int,
        *,
        keep: Callable[[EvidenceRecord], bool] = lambda _: True,
    ) -> list[EvidenceRecord]:
        """The records from ``first`` to ``last``, both included, that ``keep`` accepts.

        Raises DependencyUnavailable where the range cannot be read to its end.
        """
        records, _ = await self.read_portion(partition, first, last, keep=keep, max_bytes=sys.maxsize)
        return records

    async def read_portion(
        self,
        partition: TopicPartition,
        first: int,
        last: int,
        *,
        keep: Callable[[EvidenceRecord], bool],
        max_bytes: int,
    ) -> tuple[list[EvidenceRecord], int]:
        """As ``read``, until what is kept has ``max_bytes`` or more; with the offset to read on at."""
        found: list[EvidenceRecord] = []
        kind, size = self.kind_of(partition.topic), 0

        def each(record: Record) -> None:
            nonlocal size
            one = _evidence(kind, record)
            if keep(one):
                found.append(one)
                size += one.size

        next_offset = await read_range(
            self._kafka,
            partition,
            first,
            last,
            each=each,
            enough=lambda: size >= max_bytes,
            timeout_s=_READ_TIMEOUT_S,
        )
        return found, next_offset

    async def read_records(self, partition: TopicPartition, first: int, last: int) -> list[Record]:
        """The records of a range as they are; raises as ``read`` does."""
        found: list[Record] = []
        await read_range(self._kafka, partition, first, last, each=found.append, timeout_s=_READ_TIMEOUT_S)
        return found

    async def is_read_to(self, partition: TopicPartition, next_offset: int, end: int) -> bool:
        """Whether nothing is left between them: marks of transactions are not records."""
        if next_offset >= end:
            return True
        return not await self.read(partition, next_offset, end - 1)


def is_control(kind: str) -> bool:
    """Whether a topic carries the events of the control plane."""
    return kind in CONTROL_TOPICS


def _evidence(kind: str, record: Record) -> EvidenceRecord:
    return EvidenceRecord(
        kind=kind,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
    )
