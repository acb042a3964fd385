"""Taking over a partition: fence the former owner, recall, re-read, and go on where it stopped."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from chassis.clock import Clock
from chassis.errors import PermanentError
from chassis.failpoints import Failpoints
from chassis.kafka import Kafka, Record, TopicPartition, read_range
from services.monitor.adapters.config_directory import MonitorConfig
from services.monitor.adapters.heartbeat_events import HeartbeatEvents
from services.monitor.adapters.partition_log import KafkaPartitionLog, Memory, read_memory
from services.monitor.adapters.prediction_recall import recall_predictions
from services.monitor.adapters.tracing import Tracing
from services.monitor.adapters.trigger_events import TriggerEvents
from services.monitor.domain.breakers.breakers import Breakers, begun_anew
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import MAX_AHEAD_S, Intake
from services.monitor.domain.engine.memory import Checkpoint
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.prediction.model import shipped_network
from services.monitor.domain.prediction.portions import watched_labels
from services.monitor.domain.prediction.predictions import Predictions
from services.monitor.domain.traces import Traces
from services.monitor.handlers.partition import Partition
from services.monitor.handlers.ports import Meter
from services.monitor.handlers.prediction_work import PredictionWork

log = structlog.get_logger(__name__)
_PORTION = 20_000


class Takeover:
    """Makes a Partition out of what the log and the states topic hold."""

    def __init__(
        self,
        kafka: Kafka,
        config: MonitorConfig,
        meter: Meter,
        *,
        allowed_lateness: float,
        heartbeats: HeartbeatEvents,
        dead_letter_limit: int,
        tracing: Tracing | None,
        clock: Clock,
        failpoints: Failpoints,
    ) -> None:
        self._kafka = kafka
        self._config = config
        self._meter = meter
        self._lateness = allowed_lateness
        self._heartbeats = heartbeats
        self._partitions = heartbeats.partitions
        self._dead_letter_limit = dead_letter_limit
        self._tracing = tracing
        self._clock = clock
        self._failpoints = failpoints
        self._events = TriggerEvents(config.targets, kafka.topic("metrics"))
        self._network = shipped_network()

    async def partition(self, number: int) -> Partition:
        """Own the partition ``number``.

        Raises PermanentError where the states do not fit the topic (another number of
        partitions, a topic that was made anew).
        """
        partition_log = await KafkaPartitionLog.open(
            self._kafka,
            number,
            events=self._events,
            heartbeats=self._heartbeats,
            tracing=self._tracing,
            clock=self._clock,
            failpoints=self._failpoints,
            dead_letter_limit=self._dead_letter_limit,
        )
        try:
            memory = await read_memory(self._kafka, number)
            rules = (*self._config.rules, *self._config.breakers.rules)
            watched = watched_labels(self._config.predictive)
            engine = PartitionEngine(
                rules, allowed_lateness=self._lateness, partition=number, watched=watched
            )
            superseded, next_offset = await self._recall(engine, number, memory)
            breakers = Breakers(self._config.breakers)
            redecided = breakers.recall(memory.breakers, engine.evaluated_through)
        except BaseException:
            await partition_log.close()
            raise
        return Partition(
            number,
            engine,
            partition_log,
            self._meter,
            next_offset=next_offset,
            partitions=self._partitions,
            superseded=superseded,
            breakers=breakers,
            redecided=redecided,
            predictions=self._predictions(number, engine, memory.checkpoint, next_offset),
            traces=None if self._tracing is None else Traces(),
            clock=self._clock,
        )

    def _predictions(
        self, number: int, engine: PartitionEngine, checkpoint: Checkpoint | None, next_offset: int
    ) -> PredictionWork | None:
        """The partition's predictions, which are recalled from now on; None where there are none."""
        recalled = None if checkpoint is None else checkpoint.predicted
        if not (self._config.predictive or (recalled is not None and recalled.began)):
            return None
        predictions = Predictions(
            self._config.predictive,
            self._network,
            allowed_lateness=self._lateness,
            begin=next_offset,
        )
        recalled = recalled or predictions.first_checkpoint()
        return PredictionWork(
            number,
            predictions,
            predictions.feed(engine.series),
            self._meter,
            self._clock,
            recalled=recalled,
            recall=recall_predictions(self._kafka, number, predictions, recalled, next_offset),
        )

    async def _recall(
        self, engine: PartitionEngine, number: int, memory: Memory
    ) -> tuple[Sequence[Outcome], int]:
        """Bring the engine to where the checkpoint is; the outcomes to tell and the next offset."""
        place = TopicPartition(self._kafka.topic("metrics"), number)
        checkpoint = memory.checkpoint
        async with self._kafka.reader(place) as reader:
            begin = (await reader.beginning_offsets([place]))[place]
            end = (await reader.end_offsets([place]))[place]
            if checkpoint is None:
                return (), begin
            self._check(checkpoint, number, end)
            replay_from = checkpoint.replay_from
            evaluated = checkpoint.evaluated_through
            if evaluated is not None and checkpoint.rules_hash != engine.rules_hash:
                log.info("the rules have changed", partition=number)
                # A new window may be longer than the old ones were.
                needed = evaluated - engine.series.look_back - MAX_AHEAD_S
                at = (await reader.offsets_for_times({place: max(0, int(needed * 1000))}))[place]
                replay_from = min(replay_from, end if at is None else at)
        if begin > replay_from:
            log.warning(
                "retention has removed samples that windows still need",
                partition=number,
                needed_from=replay_from,
                kept_from=begin,
            )
        superseded = engine.recall(
            checkpoint,
            memory.remembered,
            releases=memory.releases,
            admitted=memory.admitted,
            anew=begun_anew(self._config.breakers, memory.remembered, memory.breakers),
        )
        replayed = await self._replay(engine, place, replay_from, checkpoint.next_offset)
        log.info(
            "partition recalled",
            partition=number,
            replayed=replayed,
            next_offset=checkpoint.next_offset,
            states=len(memory.remembered),
        )
        return superseded, max(begin, checkpoint.next_offset)

    def _check(self, checkpoint: Checkpoint, number: int, end: int) -> None:
        states = self._kafka.topic("trigger-states")
        if checkpoint.partitions != self._partitions:
            raise PermanentError(
                f"the states in {states} were written for {checkpoint.partitions} partitions of the metrics "
                f"topic, which has {self._partitions} now: components have moved between partitions. "
                f"Restore the number of partitions, or delete and create {states} to begin anew"
            )
        if checkpoint.next_offset > end:
            raise PermanentError(
                f"the checkpoint of partition {number} is at offset {checkpoint.next_offset}, beyond the "
                f"topic's end ({end}): the metrics topic was made anew. Delete and create {states}, too"
            )

    async def _replay(self, engine: PartitionEngine, place: TopicPartition, first: int, end: int) -> int:
        intake = Intake(engine.series)
        records: list[Record] = []
        count = 0

        def fold() -> None:
            nonlocal count
            engine.replay(intake.read(records).columns)
            count += len(records)
            records.clear()

        def each(record: Record) -> None:
            records.append(record)
            if len(records) >= _PORTION:
                fold()

        await read_range(self._kafka, place, first, end - 1, each=each)
        fold()
        return count
