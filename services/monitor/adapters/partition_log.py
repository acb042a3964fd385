"""A partition's decisions on Kafka: one transaction, one transactional id a partition.

The transactional id fences: once another process has initialised it, nothing that this one
still sends can be committed. So the states that an owner reads after initialising are final.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.dead_letters import DeadLetters
from chassis.errors import PermanentError
from chassis.failpoints import Failpoints
from chassis.kafka import Kafka, Posted, Producer, TopicPartition
from chassis.plain_records import placed
from services.monitor.adapters.breaker_events import alive_event, decision_event
from services.monitor.adapters.heartbeat_events import HeartbeatEvents
from services.monitor.adapters.prediction_events import prediction_event
from services.monitor.adapters.tracing import Tracing
from services.monitor.adapters.trigger_events import TriggerEvents
from services.monitor.domain.breakers.breaker_memory import RememberedBreaker, is_breaker_key, read_breaker
from services.monitor.domain.breakers.breakers import Decision
from services.monitor.domain.engine.admission import Admitted, is_groups_key, read_admitted
from services.monitor.domain.engine.memory import (
    CHECKPOINT_KEY,
    Checkpoint,
    Remembered,
    read_checkpoint,
    read_remembered,
)
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.engine.releases import Release, is_release_key, read_release
from services.monitor.handlers.ports import Beat, Decided

TRANSACTION_TIMEOUT_MS = 30_000
"""A process that hangs within a transaction holds up the readers of triggers, breakers and heartbeats so
long, those of what other processes write, too. The broker looks every 10 s: then the others are heard of
again before the notifier misses them."""
_BATCH_BYTES = 262_144
"""A hundred records of predicted series go in four requests, and not in a hundred."""
CONTENT_TYPE = [("content-type", b"application/cloudevents+json")]


@dataclass(frozen=True, slots=True)
class Memory:
    """What the states topic says about a partition."""

    checkpoint: Checkpoint | None
    remembered: tuple[Remembered, ...]
    breakers: tuple[RememberedBreaker, ...] = ()
    releases: tuple[Release, ...] = ()
    admitted: tuple[Admitted, ...] = ()


class KafkaPartitionLog:
    """Writes one partition's decisions; made by ``open``, which takes the partition over."""

    def __init__(
        self,
        kafka: Kafka,
        number: int,
        producer: Producer,
        stack: contextlib.AsyncExitStack,
        *,
        events: TriggerEvents,
        heartbeats: HeartbeatEvents,
        tracing: Tracing | None,
        clock: Clock,
        failpoints: Failpoints,
        dead_letters: DeadLetters,
    ) -> None:
        self._number = number
        self._producer = producer
        self._stack = stack
        self._events = events
        self._heartbeats = heartbeats
        self._tracing = tracing
        self._clock = clock
        self._failpoints = failpoints
        self._dead_letters = dead_letters
        self._triggers = kafka.topic("triggers")
        self._states = TopicPartition(kafka.topic("trigger-states"), number)
        self._breakers = kafka.topic("breakers")
        self._metrics = kafka.topic("metrics")
        self._predictions = kafka.topic("predictions")
        self._prediction_states = TopicPartition(kafka.topic("prediction-states"), number)
        self._heartbeats_topic = kafka.topic("heartbeats")

    @classmethod
    async def open(
        cls,
        kafka: Kafka,
        number: int,
        *,
        events: TriggerEvents,
        heartbeats: HeartbeatEvents,
        tracing: Tracing | None,
        clock: Clock,
        failpoints: Failpoints,
        dead_letter_limit: int,
    ) -> KafkaPartitionLog:
        """Take the partition over: from here on, its former owner can write nothing."""
        async with contextlib.AsyncExitStack() as stack:
            transactional_id = f"{kafka.group('monitor')}-{number}"
            producer = await stack.enter_async_context(
                kafka.producer(
                    transactional_id=transactional_id,
                    max_batch_bytes=_BATCH_BYTES,
                    transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                )
            )
            dead_letters = DeadLetters(
                producer, topic=kafka.topic("dead-letter"), consumer="monitor", limit=dead_letter_limit
            )
            return cls(
                kafka,
                number,
                producer,
                stack.pop_all(),
                events=events,
                heartbeats=heartbeats,
                tracing=tracing,
                clock=clock,
                failpoints=failpoints,
                dead_letters=dead_letters,
            )

    async def write(self, decided: Decided) -> None:
        told = [outcome for outcome in decided.outcomes if outcome.kind is not None]
        if self._tracing is None:
            await self._write(decided, [(outcome, None) for outcome in told])
            return
        with self._tracing.transaction(told, decided.traced) as traceparents:
            await self._write(decided, list(zip(told, traceparents, strict=True)))

    async def _write(self, decided: Decided, told: Sequence[tuple[Outcome, str | None]]) -> None:
        self._failpoints.reach("monitor.before-transaction")
        async with self._producer.transaction():
            async with self._producer.acknowledged() as sent:
                await self._send(decided, told, sent)
            self._failpoints.reach("monitor.before-commit")
        self._failpoints.reach("monitor.after-commit")

    async def close(self) -> None:
        await self._stack.aclose()

    async def _send(
        self,
        decided: Decided,
        told: Sequence[tuple[Outcome, str | None]],
        sent: list[Posted],
    ) -> None:
        for key, event in (*self._events_of(told), *self._overflows_of(decided)):
            sent.append(await self._producer.post(self._triggers, event, key=key, headers=CONTENT_TYPE))
        for key, value in self._breaker_records(decided):
            sent.append(await self._producer.post(self._breakers, value, key=key, headers=CONTENT_TYPE))
        if decided.beat is not None:
            sent.append(await self._send_heartbeat(decided.beat))
        for key, value in self._predictions_of(decided):
            sent.append(await self._producer.post(self._predictions, value, key=key, headers=CONTENT_TYPE))
        sent += await self._producer.post_all(self._prediction_states, decided.prediction_states.items())
        states = list(decided.states.items())
        if decided.checkpoint is not None:
            states.append((CHECKPOINT_KEY, decided.checkpoint.to_bytes()))
        sent += await self._producer.post_all(self._states, states)
        await self._write_dead_letters(decided)

    def _events_of(self, told: Sequence[tuple[Outcome, str | None]]) -> Iterator[tuple[bytes, bytes]]:
        now = self._clock.now()
        for outcome, traceparent in told:
            if outcome.kind is not None:
                event = self._events.event(outcome, outcome.kind, now, traceparent=traceparent)
                yield outcome.component.encode(), event.to_bytes()

    def _overflows_of(self, decided: Decided) -> Iterator[tuple[bytes, bytes]]:
        now = self._clock.now()
        for overflow in decided.overflows:
            event = self._events.overflow(overflow, self._number, now)
            yield overflow.of.component.encode(), event.to_bytes()

    def _breaker_records(self, decided: Decided) -> list[tuple[bytes, bytes | None]]:
        """Decisions by component, those of components without a breaker emptied; and a sign of life."""
        now = self._clock.now()
        records: list[tuple[bytes, bytes | None]] = []
        for decision in decided.breakers:
            value = None
            if isinstance(decision, Decision):
                value = decision_event(decision, self._number, now).to_bytes()
            records.append((decision.component.encode(), value))
        if decided.alive_through is not None:
            key, alive = alive_event(self._number, decided.alive_through, now)
            records.append((key, alive.to_bytes()))
        return records

    async def _send_heartbeat(self, beat: Beat) -> Posted:
        key, event = self._heartbeats.event(beat, self._number, self._clock.now())
        topic, value = self._heartbeats_topic, event.to_bytes()
        return await self._producer.post(topic, value, key=key, headers=CONTENT_TYPE)

    def _predictions_of(self, decided: Decided) -> list[tuple[bytes, bytes]]:
        now = self._clock.now()
        return [
            (
                told.of.component.encode(),
                prediction_event(told, self._metrics, self._number, now).to_bytes(),
            )
            for told in decided.predictions
        ]

    async def _write_dead_letters(self, decided: Decided) -> None:
        for entry in decided.set_aside:
            if not entry.in_a_row:
                self._dead_letters.good()
            unread = entry.unread
            record = placed(entry.record, self._metrics, self._number)
            await self._dead_letters.put(record, reason=unread.reason, error=unread.error, item=unread.item)
        if decided.ends_well:
            self._dead_letters.good()


async def read_memory(kafka: Kafka, number: int) -> Memory:
    """What is remembered of a partition. Raises PermanentError for a state that cannot be read."""
    place = TopicPartition(kafka.topic("trigger-states"), number)
    latest: dict[bytes, tuple[int, bytes]] = {}
    async with kafka.reader(place) as reader:
        end = (await reader.end_offsets([place]))[place]
        reader.seek(place, (await reader.beginning_offsets([place]))[place])
        while await reader.position(place) < end:
            for record in (await reader.getmany(timeout_ms=200)).get(place, ()):
                if record.key is None or record.value is None:
                    latest.pop(record.key or b"", None)
                else:
                    latest[record.key] = (record.offset, record.value)
    checkpoint = None
    remembered: list[Remembered] = []
    breakers: list[RememberedBreaker] = []
    releases: list[Release] = []
    admitted: list[Admitted] = []
    for key, (offset, value) in latest.items():
        try:
            if key == CHECKPOINT_KEY:
                checkpoint = read_checkpoint(value)
            elif is_breaker_key(key):
                breakers.append(read_breaker(value))
            elif is_release_key(key):
                releases.append(read_release(value))
            elif is_groups_key(key):
                admitted.append(read_admitted(value))
            else:
                remembered.append(read_remembered(value))
        except (ValueError, KeyError, TypeError) as error:
            raise PermanentError(
                f"{place.topic}[{number}] at offset {offset}: the state {key!r} cannot be read ({error}). "
                "Use the version of backout that wrote it, or delete the topic's records to begin anew"
            ) from error
    return Memory(checkpoint, tuple(remembered), tuple(breakers), tuple(releases), tuple(admitted))
