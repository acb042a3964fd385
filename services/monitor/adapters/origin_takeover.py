"""Taking over a partition of a foreign topic: fence the former owner, recall, and go on where it stopped."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from chassis.failpoints import Failpoints
from chassis.kafka import Consumer, Kafka, Record, TopicPartition, read_range
from services.monitor.adapters.origin_log import KafkaOriginLog
from services.monitor.domain.ingest.translation import Translator
from services.monitor.handlers.origin import IngestMeter, OriginPartition

log = structlog.get_logger(__name__)
LOOK_BACK_TIMEOUT_S = 300.0


class OriginTakeover:
    """Makes an OriginPartition out of what the group has committed and the log holds."""

    def __init__(
        self,
        kafka: Kafka,
        source: str,
        group: str,
        translator: Callable[[], Translator],
        meter: IngestMeter,
        *,
        failpoints: Failpoints,
        dead_letter_limit: int,
        carry_traces: bool = False,
    ) -> None:
        self._kafka = kafka
        self._source = source
        self._group = group
        self._translator = translator
        self._meter = meter
        self._failpoints = failpoints
        self._dead_letter_limit = dead_letter_limit
        self._carry_traces = carry_traces
        self._consumer: Consumer | None = None

    def attach(self, consumer: Consumer) -> None:
        """The group's consumer, which knows what the group has committed."""
        self._consumer = consumer

    async def partition(self, place: TopicPartition) -> OriginPartition:
        """Own the partition."""
        if self._consumer is None:
            raise RuntimeError("attach() comes first")
        origin_log = await KafkaOriginLog.open(
            self._kafka,
            place,
            self._group,
            failpoints=self._failpoints,
            dead_letter_limit=self._dead_letter_limit,
            carry_traces=self._carry_traces,
        )
        try:
            next_offset = await self._next_offset(place, await self._consumer.committed(place))
            translator = self._translator()
            await self._remember(translator, place, next_offset)
        except BaseException:
            await origin_log.close()
            raise
        return OriginPartition(
            self._source, place, translator, origin_log, self._meter, next_offset=next_offset
        )

    async def _next_offset(self, place: TopicPartition, committed: int | None) -> int:
        async with self._kafka.reader(place) as reader:
            begin = (await reader.beginning_offsets([place]))[place]
            end = (await reader.end_offsets([place]))[place]
        if committed is None:
            return begin
        if committed > end:
            log.warning(
                "the topic was made anew, and is read from its beginning",
                topic=place.topic,
                partition=place.partition,
                committed=committed,
                end=end,
            )
            return begin
        if committed < begin:
            log.warning(
                "retention has removed records before they were translated",
                topic=place.topic,
                partition=place.partition,
                committed=committed,
                kept_from=begin,
            )
        return max(committed, begin)

    async def _remember(self, translator: Translator, place: TopicPartition, next_offset: int) -> None:
        """Let the translator see what came before, without writing what becomes of it."""
        first = max(0, next_offset - translator.look_back)
        seen = 0

        def see(record: Record) -> None:
            nonlocal seen
            if not seen and record.offset > 0:
                translator.resumes_at(record.timestamp / 1000)
            seen += 1
            translator.translate(record.value)

        await read_range(self._kafka, place, first, next_offset - 1, each=see, timeout_s=LOOK_BACK_TIMEOUT_S)
