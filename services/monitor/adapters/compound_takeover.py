"""Taking over a topic of the second stage: fence the former owner, recall, and go on where it stopped."""

from __future__ import annotations

import contextlib

import structlog

from chassis.clock import Clock, SystemClock
from chassis.errors import PermanentError
from chassis.failpoints import Failpoints
from chassis.kafka import Consumer, Kafka, TopicPartition
from chassis.settings import Settings
from services.monitor.adapters.compound_log import (
    KafkaCompoundLog,
    StageMemory,
    group_of,
    read_stage_memory,
)
from services.monitor.adapters.config_directory import MonitorConfig
from services.monitor.domain.compound.definitions import of_members, of_reports
from services.monitor.domain.compound.member_stage import MemberStage
from services.monitor.domain.compound.memory import Source, StageCheckpoint
from services.monitor.domain.compound.outcomes import CompoundOutcome
from services.monitor.domain.compound.report_stage import ReportStage
from services.monitor.handlers.compound import CompoundMeter, CompoundPartition, Stage
from services.monitor.handlers.compound_stages import ReportsStage, TriggersStage
from services.monitor.handlers.second_stage import SecondStage

log = structlog.get_logger(__name__)
SOURCES: tuple[Source, ...] = ("triggers", "reports")


class CompoundTakeover:
    """Makes a CompoundPartition out of what the states topic holds."""

    def __init__(
        self,
        kafka: Kafka,
        source: Source,
        config: MonitorConfig,
        meter: CompoundMeter,
        *,
        lateness: float,
        dead_letter_limit: int,
        clock: Clock,
        failpoints: Failpoints,
    ) -> None:
        self._kafka = kafka
        self._source = source
        self._config = config
        self._meter = meter
        self._lateness = lateness
        self._dead_letter_limit = dead_letter_limit
        self._clock = clock
        self._failpoints = failpoints

    async def partition(self, place: TopicPartition) -> CompoundPartition:
        """Own the topic. Raises PermanentError where the states do not fit it."""
        compound_log = await KafkaCompoundLog.open(
            self._kafka,
            self._source,
            clock=self._clock,
            failpoints=self._failpoints,
            dead_letter_limit=self._dead_letter_limit,
        )
        try:
            memory = await read_stage_memory(self._kafka, self._source)
            next_offset = await self._next_offset(place, memory.checkpoint)
            stage, told = self._recalled(memory)
        except BaseException:
            await compound_log.close()
            raise
        return CompoundPartition(
            self._source, place, stage, compound_log, self._meter, next_offset=next_offset, told=told
        )

    def _recalled(self, memory: StageMemory) -> tuple[Stage, list[CompoundOutcome]]:
        if self._source == "reports":
            reports = ReportStage(of_reports(self._config.compounds))
            return ReportsStage(reports), reports.recall(memory.report_episodes)
        members = MemberStage(of_members(self._config.compounds), lateness=self._lateness)
        checkpoint = memory.checkpoint
        told = members.recall(
            evaluated=None if checkpoint is None else checkpoint.evaluated,
            shown=None if checkpoint is None else checkpoint.shown,
            members=memory.members,
            episodes=memory.episodes,
        )
        kept = {episode.rule.name: episode for episode in memory.episodes}
        return TriggersStage(members, kept), told

    async def _next_offset(self, place: TopicPartition, checkpoint: StageCheckpoint | None) -> int:
        async with self._kafka.reader(place) as reader:
            begin = (await reader.beginning_offsets([place]))[place]
            end = (await reader.end_offsets([place]))[place]
        if checkpoint is None:
            return begin
        if checkpoint.next_offset > end:
            states = self._kafka.topic("compound-states")
            raise PermanentError(
                f"the second stage is at offset {checkpoint.next_offset} of {place.topic}, beyond its end "
                f"({end}): the topic was made anew. Delete and create {states}, too"
            )
        if checkpoint.next_offset < begin:
            log.warning(
                "retention has removed records before they were decided about",
                topic=place.topic,
                next_offset=checkpoint.next_offset,
                kept_from=begin,
            )
        return max(begin, checkpoint.next_offset)


async def open_second_stage(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    kafka: Kafka,
    source: Source,
    config: MonitorConfig,
    meter: CompoundMeter,
) -> tuple[SecondStage, Consumer]:
    """The loop over one topic and its consumer, which has joined its group; closed with ``stack``.

    It runs without any compound trigger, too: one that was removed while it was firing is superseded.
    """
    clock = SystemClock()
    takeover = CompoundTakeover(
        kafka,
        source,
        config,
        meter,
        lateness=settings.monitor.compound_lateness_s,
        dead_letter_limit=settings.kafka.dead_letters_in_a_row,
        clock=clock,
        failpoints=Failpoints.from_environment(),
    )
    stage = SecondStage(takeover.partition, clock)
    consumer = await stack.enter_async_context(
        kafka.consumer(
            kafka.topic(source), group=group_of(kafka, source), instance=settings.instance, listener=stage
        )
    )
    stage.attach(consumer)
    return stage, consumer
