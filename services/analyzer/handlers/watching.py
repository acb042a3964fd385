"""Find what the stream passed over, and hand it over.

The end of a topic is often the mark of a transaction, which is no record: so what looks
unhandled is read before anything is said of it, and the mark is not looked at again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from chassis.errors import PermanentError
from chassis.kafka import Record, TopicPartition
from services.analyzer.domain.standstill import Standing

_STUCK_LOOKS = 5
"""Looks after the first in which a topic stands still before it is looked into."""
_DEAF_LOOKS = 5
_AT_ONCE = 1_000
"""Offsets that are read in one look."""


class FollowedLog(Protocol):
    """The topics that the stream follows."""

    @property
    def followed_topics(self) -> Sequence[str]: ...
    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...
    async def read_records(self, partition: TopicPartition, first: int, last: int) -> list[Record]: ...


class Progress(Protocol):
    """How far each topic has been handled."""

    async def progress(self, topics: Iterable[str]) -> dict[str, int]: ...


class Watcher:
    """Compares what has been handled with what there is, again and again."""

    def __init__(
        self,
        source: FollowedLog,
        store: Progress,
        *,
        hand_over: Callable[[Record], Awaitable[None]],
        delivered: Callable[[], int],
    ) -> None:
        """``delivered`` counts the records that the stream itself has delivered so far."""
        self._log = source
        self._store = store
        self._hand_over = hand_over
        self._delivered = delivered
        self._standing = {topic: Standing(_STUCK_LOOKS) for topic in source.followed_topics}
        self._seen: dict[str, int] = {}
        self._deaf_looks = 0
        self._last_delivered = 0

    async def look(self) -> None:
        """Hand over what has been passed over.

        Raises PermanentError if the stream itself delivers nothing meanwhile, time after time: then
        a new start is what mends it.
        """
        ends = await self._log.ends(map(_only, self._standing))
        progress = await self._store.progress(self._standing)
        mended = 0
        for topic, standing in self._standing.items():
            next_offset, end = progress.get(topic, 0), ends[_only(topic)]
            if standing.look(next_offset if next_offset < end else None):
                mended += await self._mend(topic, next_offset, end)
        if mended:
            self._check_that_it_hears()

    def _check_that_it_hears(self) -> None:
        delivered = self._delivered()
        self._deaf_looks = 1 if delivered != self._last_delivered else self._deaf_looks + 1
        self._last_delivered = delivered
        if self._deaf_looks > _DEAF_LOOKS:
            raise PermanentError(
                f"the stream delivers nothing: {self._deaf_looks} times in a row records were found "
                f"that it had passed over"
            )

    async def _mend(self, topic: str, next_offset: int, end: int) -> int:
        first = max(next_offset, self._seen.get(topic, 0))
        last = min(end, first + _AT_ONCE) - 1
        records = await self._log.read_records(_only(topic), first, last)
        for record in records:
            await self._hand_over(record)
        self._seen[topic] = last + 1
        return len(records)


def _only(topic: str) -> TopicPartition:
    return TopicPartition(topic, 0)
