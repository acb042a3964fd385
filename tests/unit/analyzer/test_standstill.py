"""When a topic counts as passed over."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from chassis.kafka import Record, TopicPartition
from services.analyzer.adapters.stream import StreamRecord
from services.analyzer.domain.standstill import Standing
from services.analyzer.handlers.watching import Watcher


class Log:
    """A topic with one record that nobody handles."""

    followed_topics = ("triggers",)
    end = 1
    next_offset = 0

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.end)

    async def read_records(self, partition: TopicPartition, first: int, last: int) -> list[Record]:
        if last < first:
            return []
        assert (first, last) == (0, 0)
        return [StreamRecord(partition.topic, 0, 0, 0, None, b"", ())]

    async def progress(self, topics: Iterable[str]) -> dict[str, int]:
        return dict.fromkeys(topics, self.next_offset)


@pytest.mark.parametrize(("looks", "found"), [(5, 0), (6, 1), (9, 1)])
async def test_only_what_stood_still_while_it_was_watched_is_handed_over(looks: int, found: int) -> None:
    log, handed = Log(), []

    async def hand_over(record: Record) -> None:
        handed.append(record)

    watcher = Watcher(log, log, hand_over=hand_over, delivered=lambda: 0)
    for _ in range(looks):
        await watcher.look()
    assert len(handed) == found


async def test_a_topic_that_gets_on_or_has_been_read_to_its_end_is_not_looked_into() -> None:
    log = Log()

    async def hand_over(record: Record) -> None:
        raise AssertionError(record.offset)

    watcher = Watcher(log, log, hand_over=hand_over, delivered=lambda: 0)
    for log.end in range(1, 30):
        # Every third look it is at the end, else one record behind: never for long at the same one.
        log.next_offset = log.end if log.end % 3 == 0 else log.end - 1
        await watcher.look()


def test_what_does_not_get_on_is_told_after_so_many_looks() -> None:
    standing = Standing(3)
    assert [standing.look(state) for state in (1, 1, 1, 1)] == [False, False, False, True]
    assert [standing.look(state) for state in (2, 2, 3, 3, 3)] == [False] * 5
    assert [standing.look(state) for state in (None, None, None, None, 3)] == [False] * 5
