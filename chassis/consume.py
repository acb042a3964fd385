"""The loop that every consumer of events runs: read, hand over, and only then commit.

An unreadable record becomes a dead letter. Any other exception stops the service and leaves
the record uncommitted, so that it is read again: nothing is acknowledged that was not done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from chassis.dead_letters import DeadLetters
from chassis.errors import Unreadable
from chassis.kafka import Consumer, Record, TopicPartition
from schemas.registry import AnyEvent, UnreadableEvent, read_event


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


def received(record: Record) -> Received:
    """Read a record as an event; raises Unreadable."""
    try:
        event = read_event(record.value)
    except UnreadableEvent as error:
        raise Unreadable(error.reason, str(error)) from error
    value = record.value or b""
    return Received(event, record.topic, record.partition, record.offset, record.timestamp, value)


async def consume_events(
    consumer: Consumer,
    handle: Handler,
    dead_letters: DeadLetters,
    *,
    stop: asyncio.Event,
    poll_ms: int = 200,
) -> None:
    """Hand every event to ``handle``, in order, until ``stop`` is set; commit after each batch.

    ``handle`` may raise Unreadable, too, for an event that is well formed but makes no sense.
    """
    while not stop.is_set():
        fetched = await consumer.getmany(timeout_ms=poll_ms)
        await _hand_over(fetched, handle, dead_letters)
        if fetched:
            await consumer.commit({part: records[-1].offset + 1 for part, records in fetched.items()})


async def _hand_over(
    fetched: Mapping[TopicPartition, Sequence[Record]], handle: Handler, dead_letters: DeadLetters
) -> None:
    for records in fetched.values():
        for record in records:
            try:
                await handle(received(record))
            except Unreadable as error:
                await dead_letters.put(record, reason=error.reason, error=str(error))
            else:
                dead_letters.good()
