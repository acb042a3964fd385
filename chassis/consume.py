"""The loop that every consumer of events runs: read, hand over, and only then commit.

An unreadable record becomes a dead letter. Any other exception stops the service and leaves
the record uncommitted, so that it is read again: nothing is acknowledged that was not done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from chassis.dead_letters import DeadLetters
from chassis.errors import NotAssigned, Unreadable
from chassis.kafka import Consumer, Record, TopicPartition
from schemas.registry import AnyEvent, UnreadableEvent, read_event

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """An event with its place in the log; ``appended_ms`` is the broker's or the producer's time."""

    event: AnyEvent
    topic: str
    partition: int
    offset: int
    appended_ms: int
    value: bytes


Handler = Callable[[Received], Awaitable[None]]


def event_of(value: bytes | None) -> AnyEvent:
    """The event of a record's value; raises Unreadable."""
    try:
        return read_event(value)
    except UnreadableEvent as error:
        raise Unreadable(error.reason, str(error)) from error


def received(record: Record) -> Received:
    """Read a record as an event; raises Unreadable."""
    event, value = event_of(record.value), record.value or b""
    return Received(event, record.topic, record.partition, record.offset, record.timestamp, value)


async def consume_events(
    consumer: Consumer,
    handle: Handler,
    dead_letters: DeadLetters,
    *,
    stop: asyncio.Event,
    poll_ms: int = 200,
    after_batch: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Hand every event to ``handle``, in order, until ``stop`` is set; commit after each batch.

    ``handle`` may raise Unreadable, too, for an event that is well formed but makes no sense.
    ``after_batch`` runs after every poll, also an empty one, before its offsets are committed.
    """
    while not stop.is_set():
        fetched = await consumer.getmany(timeout_ms=poll_ms)
        next_offsets = await _hand_over(fetched, handle, dead_letters, stop)
        if after_batch is not None:
            await after_batch()
        if not next_offsets:
            continue
        try:
            await consumer.commit(next_offsets)
        except NotAssigned as error:
            # The new owner reads these again, and an id takes effect once.
            log.warning("commit refused", error=str(error))


async def _hand_over(
    fetched: Mapping[TopicPartition, Sequence[Record]],
    handle: Handler,
    dead_letters: DeadLetters,
    stop: asyncio.Event,
) -> dict[TopicPartition, int]:
    """Where to read on, by partition; a stop leaves the rest of the batch for the next start."""
    next_offsets: dict[TopicPartition, int] = {}
    for partition, records in fetched.items():
        for record in records:
            if stop.is_set():
                return next_offsets
            try:
                await handle(received(record))
            except Unreadable as error:
                await dead_letters.put(record, reason=error.reason, error=str(error))
            else:
                dead_letters.good()
            next_offsets[partition] = record.offset + 1
    return next_offsets
