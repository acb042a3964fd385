"""Another system's topic, and what the monitor made of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from chassis.errors import PermanentError
from chassis.kafka import Kafka, Producer
from chassis.kafka_admin import ensure_own_topic, inspect_groups, partition_counts
from schemas.metrics import read_record
from tests.integration.monitor.stage import Stage
from tests.polling import eventually


class Translated(NamedTuple):
    """A sample with the place of the record that it was made of."""

    origin: str
    component: str
    metric: str
    value: float
    time: float
    labels: tuple[tuple[str, str], ...]


class Foreign:
    """A topic that is not backout's, and its reader's group."""

    def __init__(self, kafka: Kafka, producer: Producer, source: str, topic: str) -> None:
        self._kafka = kafka
        self._producer = producer
        self.source = source
        self.topic = topic
        self.ends: dict[int, int] = {}

    @classmethod
    async def create(cls, stage: Stage, source: str = "otlp", *, partitions: int = 2) -> Foreign:
        topic = stage.kafka.group(f"foreign-{source}")
        await ensure_own_topic(stage.kafka, topic, partitions=partitions, config={})
        return cls(stage.kafka, stage.producer, source, topic)

    async def make_anew(self) -> None:
        """Delete the topic, and create it empty as soon as its name is free."""
        async with self._kafka.admin() as admin:
            await admin.delete_topics([self.topic])
        self.ends = {}

        async def is_created() -> bool:
            with contextlib.suppress(PermanentError):
                await ensure_own_topic(self._kafka, self.topic, partitions=1, config={})
            return self.topic in await partition_counts(self._kafka)

        await eventually(is_created, what="the topic is made anew")

    def environment(self, **more: str) -> dict[str, str]:
        """The variables that switch ingest of this topic on."""
        prefix = f"BACKOUT_MONITOR__INGEST__{self.source.upper()}__"
        return {f"{prefix}ENABLED": "true", f"{prefix}TOPIC": self.topic, **more}

    async def publish(self, values: Iterable[bytes | None], partition: int | None = None) -> None:
        sent = [
            await self._producer.enqueue(self.topic, value, key=b"k", partition=partition) for value in values
        ]
        for appended in await asyncio.gather(*sent):
            end = max(self.ends.get(appended.partition, 0), appended.offset + 1)
            self.ends[appended.partition] = end

    async def caught_up(self) -> None:
        """Wait until all that was published is translated."""

        async def is_there() -> bool:
            committed = await self.committed()
            return all(committed.get(number, 0) >= end for number, end in self.ends.items())

        await eventually(is_there, what="the foreign topic is translated", timeout_s=60)

    async def committed(self) -> dict[int, int]:
        """The next offset to translate, by partition."""
        group = self._kafka.group(f"ingest-{self.source}")
        return {
            part.partition: part.committed
            for report in await inspect_groups(self._kafka, prefix=group)
            for part in report.partitions
            if part.committed is not None
        }


async def translated(stage: Stage) -> Counter[Translated]:
    """Every sample on the metrics topic that was made of a foreign record, and how often it is there."""
    found: Counter[Translated] = Counter()
    for number in await stage.ends():
        for record in await stage.records("metrics", number):
            headers = dict(record.headers)
            if "backout-origin-topic" not in headers:
                continue
            place = [headers[f"backout-origin-{name}"].decode() for name in ("topic", "partition", "offset")]
            read = read_record(record.value)
            assert read.unread == ()
            for sample in read.samples:
                assert record.key == sample.component.encode()
                assert isinstance(sample.time, float)
                found[
                    Translated(
                        "/".join(place),
                        sample.component,
                        sample.metric,
                        sample.value,
                        sample.time,
                        tuple(sorted((sample.labels or {}).items())),
                    )
                ] += 1
    return found
