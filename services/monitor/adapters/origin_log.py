"""Translations on Kafka: samples, dead letters and the origin's offset in one transaction.

There is one transactional id a partition of the foreign topic. Once another process has initialised
it, this one can commit nothing more, and what it left open is rolled back; so the offset that an
owner reads after initialising is final. No record is translated twice, and none is left out.
"""

from __future__ import annotations

import contextlib

from chassis.dead_letters import DeadLetters
from chassis.failpoints import Failpoints
from chassis.kafka import Kafka, Posted, Producer, Record, TopicPartition
from schemas.metrics import BatchOrigin
from services.monitor.domain.traces import HEADER, traceparent_of
from services.monitor.handlers.origin import Translation

TRANSACTION_TIMEOUT_MS = 10_000
"""A process that freezes within a transaction holds up the readers of the metrics topic so long."""


class KafkaOriginLog:
    """Writes what one partition of a foreign topic became; made by ``open``, which takes it over."""

    def __init__(
        self,
        kafka: Kafka,
        place: TopicPartition,
        group: str,
        producer: Producer,
        stack: contextlib.AsyncExitStack,
        *,
        failpoints: Failpoints,
        dead_letter_limit: int,
        carry_traces: bool,
    ) -> None:
        self._kafka = kafka
        self._place = place
        self._group = group
        self._producer = producer
        self._stack = stack
        self._failpoints = failpoints
        self._carry_traces = carry_traces
        self._metrics = kafka.topic("metrics")
        self._dead_letters = DeadLetters(
            producer, topic=kafka.topic("dead-letter"), consumer="monitor-ingest", limit=dead_letter_limit
        )

    @classmethod
    async def open(
        cls,
        kafka: Kafka,
        place: TopicPartition,
        group: str,
        *,
        failpoints: Failpoints,
        dead_letter_limit: int,
        carry_traces: bool = False,
    ) -> KafkaOriginLog:
        """From here on, the partition's former owner can write nothing."""
        async with contextlib.AsyncExitStack() as stack:
            producer = await stack.enter_async_context(
                kafka.producer(
                    transactional_id=f"{group}-{place.topic}-{place.partition}",
                    transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                )
            )
            return cls(
                kafka,
                place,
                group,
                producer,
                stack.pop_all(),
                failpoints=failpoints,
                dead_letter_limit=dead_letter_limit,
                carry_traces=carry_traces,
            )

    async def write(self, translation: Translation) -> None:
        self._failpoints.reach("ingest.before-transaction")
        async with self._producer.transaction():
            async with self._producer.acknowledged() as sent:
                await self._send(translation, sent)
            await self._producer.commit_offsets({self._place: translation.next_offset}, group=self._group)
            self._failpoints.reach("ingest.before-commit")
        self._failpoints.reach("ingest.after-commit")

    async def end(self) -> int:
        async with self._kafka.reader(self._place) as reader:
            return (await reader.end_offsets([self._place]))[self._place]

    async def close(self) -> None:
        await self._stack.aclose()

    async def _send(self, translation: Translation, sent: list[Posted]) -> None:
        for batch in translation.batches:
            headers = _origin(batch.origin, batch.part).headers()
            if self._carry_traces and (context := traceparent_of(batch.origin.headers)) is not None:
                headers.append((HEADER, context.encode()))
            sent.append(
                await self._producer.post(
                    self._metrics, batch.value, key=batch.component.encode(), headers=headers
                )
            )
        for refused, was_read in translation.outcomes:
            if was_read:
                self._dead_letters.good()
            for entry in refused:
                unread = entry.unread
                await self._dead_letters.put(
                    entry.record, reason=unread.reason, error=unread.error, item=unread.item
                )
            if was_read:
                self._dead_letters.good()


def _origin(record: Record, part: int) -> BatchOrigin:
    return BatchOrigin(record.topic, record.partition, record.offset, part)
