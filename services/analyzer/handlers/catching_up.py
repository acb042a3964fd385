"""Before a record of the stream is handled: handle what the stream has passed over.

Progress says that all before it is handled. A record that is handled out of its turn would make
that untrue, and what was passed over would never be looked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from chassis.kafka import Record, TopicPartition
from services.analyzer.domain.passing_over import may_be_missing


class FollowedRecord(Record, Protocol):
    """A record with the offset of the one that was fetched right before it, None for the first."""

    @property
    def fetched_after(self) -> int | None: ...


class Places(Protocol):
    """The log, read by place."""

    async def read_records(self, partition: TopicPartition, first: int, last: int) -> list[Record]: ...


class Progress(Protocol):
    """How far each topic has been handled."""

    async def progress(self, topics: Iterable[str]) -> dict[str, int]: ...


class CatchUp:
    """Knows of each topic how far this process has come since the topics were given out."""

    def __init__(
        self, source: Places, store: Progress, *, hand_over: Callable[[Record], Awaitable[None]]
    ) -> None:
        self._log = source
        self._store = store
        self._hand_over = hand_over
        self._generation: int | None = None
        self._next: dict[str, int] = {}

    async def before(self, record: FollowedRecord, generation: int) -> None:
        """Hand over what lies before the record and is not handled; ``generation`` counts how often the
        topics have been given out. Raises what the log, the store and the handing over raise."""
        if generation != self._generation:
            # Others may have had the topics meanwhile.
            self._generation, self._next = generation, {}
        topic = record.topic
        known = self._next.get(topic)
        if known is None or may_be_missing(known, record.offset, record.fetched_after):
            known = (await self._store.progress([topic]))[topic]
        if may_be_missing(known, record.offset, record.fetched_after):
            partition = TopicPartition(topic, record.partition)
            for missed in await self._log.read_records(partition, known, record.offset - 1):
                await self._hand_over(missed)
        self._next[topic] = max(known, record.offset)

    def handled(self, record: Record) -> None:
        """The record itself is handled, too."""
        self._next[record.topic] = max(self._next.get(record.topic, 0), record.offset + 1)
