"""The second stage's decisions on Kafka: events, states and offsets in one transaction.

Each of the two topics has a transactional id, and a partition of the states topic, of its own. The id
fences: once another process has initialised it, nothing that this one still sends can be committed,
so the states that an owner reads after initialising are final. The partition keeps a transaction that the
other topic's owner has left open from hiding what is committed here.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.dead_letters import DeadLetters
from chassis.errors import PermanentError
from chassis.failpoints import Failpoints
from chassis.kafka import Kafka, Posted, Producer, Record, TopicPartition, read_range
from chassis.plain_records import placed
from services.monitor.adapters.compound_events import compound_event
from services.monitor.domain.compound import memory
from services.monitor.domain.compound.members import Member
from services.monitor.domain.compound.memory import Source, StageCheckpoint
from services.monitor.domain.compound.outcomes import Episode
from services.monitor.domain.compound.report_stage import ReportEpisode
from services.monitor.handlers.compound import CompoundDecided

CONTENT_TYPE = [("content-type", b"application/cloudevents+json")]
TRANSACTION_TIMEOUT_MS = 10_000
"""A process that freezes within a transaction holds up the readers of the triggers topic so long."""
STATES_PARTITION: dict[Source, int] = {"triggers": 0, "reports": 1}


@dataclass(frozen=True, slots=True)
class StageMemory:
    """What the states topic says about one of the two; ``checkpoint`` None: nothing yet."""

    checkpoint: StageCheckpoint | None = None
    members: tuple[Member, ...] = ()
    episodes: tuple[Episode, ...] = ()
    report_episodes: tuple[ReportEpisode, ...] = ()


class KafkaCompoundLog:
    """Writes what was decided over one topic; made by ``open``, which takes it over."""

    def __init__(
        self,
        kafka: Kafka,
        source: Source,
        producer: Producer,
        stack: contextlib.AsyncExitStack,
        *,
        clock: Clock,
        failpoints: Failpoints,
        dead_letter_limit: int,
    ) -> None:
        self._group = group_of(kafka, source)
        self._place = TopicPartition(kafka.topic(source), 0)
        self._states = TopicPartition(kafka.topic("compound-states"), STATES_PARTITION[source])
        self._triggers = kafka.topic("triggers")
        self._producer = producer
        self._stack = stack
        self._clock = clock
        self._failpoints = failpoints
        self._dead_letters = DeadLetters(
            producer, topic=kafka.topic("dead-letter"), consumer="monitor-compound", limit=dead_letter_limit
        )

    @classmethod
    async def open(
        cls, kafka: Kafka, source: Source, *, clock: Clock, failpoints: Failpoints, dead_letter_limit: int
    ) -> KafkaCompoundLog:
        """From here on, the former owner can write nothing."""
        async with contextlib.AsyncExitStack() as stack:
            producer = await stack.enter_async_context(
                kafka.producer(
                    transactional_id=group_of(kafka, source), transaction_timeout_ms=TRANSACTION_TIMEOUT_MS
                )
            )
            return cls(
                kafka,
                source,
                producer,
                stack.pop_all(),
                clock=clock,
                failpoints=failpoints,
                dead_letter_limit=dead_letter_limit,
            )

    async def write(self, decided: CompoundDecided) -> None:
        self._failpoints.reach("compound.before-transaction")
        async with self._producer.transaction():
            async with self._producer.acknowledged() as sent:
                await self._send(decided, sent)
            await self._producer.commit_offsets({self._place: decided.next_offset}, group=self._group)
            self._failpoints.reach("compound.before-commit")
        self._failpoints.reach("compound.after-commit")

    async def close(self) -> None:
        await self._stack.aclose()

    async def _send(self, decided: CompoundDecided, sent: list[Posted]) -> None:
        now = self._clock.now()
        for outcome in decided.outcomes:
            event = compound_event(outcome, now)
            key, value = event.subject.encode(), event.to_bytes()
            sent.append(await self._producer.post(self._triggers, value, key=key, headers=CONTENT_TYPE))
        topic, partition = self._states
        for key, state in decided.states.items():
            sent.append(await self._producer.post(topic, state, key=key, partition=partition))
        for entry in decided.set_aside:
            if not entry.in_a_row:
                self._dead_letters.good()
            unread = entry.unread
            record = placed(entry.record, self._place.topic, self._place.partition)
            await self._dead_letters.put(record, reason=unread.reason, error=unread.error)
        if decided.ends_well:
            self._dead_letters.good()


def group_of(kafka: Kafka, source: Source) -> str:
    """The consumer group, and the transactional id, of the stage over ``source``."""
    return kafka.group(f"monitor-compound-{source}")


async def read_stage_memory(kafka: Kafka, source: Source) -> StageMemory:
    """What is remembered. Raises PermanentError for a state that cannot be read."""
    place = TopicPartition(kafka.topic("compound-states"), STATES_PARTITION[source])
    latest: dict[bytes, Record] = {}

    def keep(record: Record) -> None:
        if record.value is None:
            latest.pop(record.key or b"", None)
        else:
            latest[record.key or b""] = record

    async with kafka.reader(place) as reader:
        end = (await reader.end_offsets([place]))[place]
    await read_range(kafka, place, 0, end - 1, each=keep)
    return _memory(source, latest)


def _memory(source: Source, latest: dict[bytes, Record]) -> StageMemory:
    checkpoint = None
    members: list[Member] = []
    episodes: list[Episode] = []
    report_episodes: list[ReportEpisode] = []
    for key, record in latest.items():
        value = record.value or b""
        try:
            if key == memory.checkpoint_key(source):
                checkpoint = memory.read_checkpoint(value)
            elif memory.is_member(key):
                members.append(memory.read_member(value))
            elif source == "triggers":
                episodes.append(memory.read_episode(value))
            else:
                report_episodes.append(memory.read_report_episode(value))
        except (ValueError, KeyError, TypeError) as error:
            raise PermanentError(
                f"{record.topic}[{record.partition}] at offset {record.offset}: the state {key!r} cannot be "
                f"read ({error}). Use the version of backout that wrote it, or delete the topic's records "
                "to begin anew"
            ) from error
    return StageMemory(checkpoint, tuple(members), tuple(episodes), tuple(report_episodes))
