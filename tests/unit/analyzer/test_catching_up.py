"""What a stream passes over is handled first: a stream that skips, on a log that has it all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pytest

from chassis.kafka import Record, TopicPartition
from services.analyzer.domain.passing_over import may_be_missing
from services.analyzer.handlers.catching_up import CatchUp

TOPIC = "backout.triggers.v1"


@pytest.mark.parametrize(
    ("next_offset", "offset", "fetched_after", "expected"),
    [
        (5, 5, 4, False),
        (5, 5, None, False),
        (5, 3, None, False),  # handed on once more
        (5, 6, 4, False),  # the mark of a transaction
        (5, 9, 3, False),
        (5, 6, 5, True),
        (5, 9, 7, True),
        (5, 6, None, True),  # the first since a seek: only the log can tell
    ],
)
def test_when_records_may_be_missing(
    next_offset: int, offset: int, fetched_after: int | None, expected: bool
) -> None:
    assert may_be_missing(next_offset, offset, fetched_after) is expected


@dataclass(frozen=True)
class Taken:
    """A record of the log, as a stream hands it on."""

    offset: int
    fetched_after: int | None = None
    topic: str = TOPIC
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass
class Kept:
    """The log's offsets with a record, and what has been handled of it, in order."""

    log: Sequence[int]
    handled: list[int] = field(default_factory=list)
    next_offset: int = 0
    reads: int = 0
    asked: int = 0

    async def read_records(self, partition: TopicPartition, first: int, last: int) -> list[Record]:
        assert partition == TopicPartition(TOPIC, 0)
        self.reads += 1
        return [Taken(offset) for offset in self.log if first <= offset <= last]

    async def progress(self, topics: Iterable[str]) -> dict[str, int]:
        self.asked += 1
        return dict.fromkeys(topics, self.next_offset)

    async def handle(self, record: Record) -> None:
        self.handled.append(record.offset)
        self.next_offset = max(self.next_offset, record.offset + 1)


class SkippingStream:
    """Fetches all records of the log in order, and hands on those that it does not skip."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._catch_up = CatchUp(kept, kept, hand_over=kept.handle)

    async def deliver(self, begin: int, *, skip: Iterable[int] = (), generation: int = 1) -> None:
        skipped, before = set(skip), None
        for offset in [offset for offset in self._kept.log if offset >= begin]:
            if offset not in skipped:
                record = Taken(offset, fetched_after=before)
                await self._catch_up.before(record, generation)
                await self._kept.handle(record)
                self._catch_up.handled(record)
            before = offset


LOG = (0, 1, 3, 5, 6, 7, 9, 12)
"""A mark of a transaction, an aborted record or both lie in each gap."""


@pytest.mark.parametrize(
    "skip", [(), (0,), (1,), (3,), (5, 6, 7), (0, 1, 3, 5), (1, 5, 9), (0, 1, 3, 5, 6, 7, 9)]
)
async def test_what_was_skipped_is_handled_first_and_once(skip: Sequence[int]) -> None:
    kept = Kept(LOG)
    await SkippingStream(kept).deliver(0, skip=skip)
    assert kept.handled == list(LOG)


async def test_gaps_without_records_are_not_looked_into() -> None:
    kept = Kept(LOG)
    await SkippingStream(kept).deliver(0)
    assert (kept.reads, kept.asked) == (0, 1)


async def test_the_first_record_since_a_seek_is_held_against_what_others_have_handled() -> None:
    kept = Kept(LOG)
    stream = SkippingStream(kept)
    await stream.deliver(9)
    assert kept.handled == list(LOG)
    kept.log, kept.next_offset = (*LOG, 13, 14, 17), 15
    await stream.deliver(17, generation=2)
    assert kept.handled == [*LOG, 17]


async def test_a_failed_handling_of_what_was_skipped_is_done_again() -> None:
    kept = Kept(LOG)

    async def fail(_: Record) -> None:
        raise ConnectionError

    catch_up = CatchUp(kept, kept, hand_over=fail)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await catch_up.before(Taken(3), 1)
    assert kept.reads == 2
