"""When a topic counts as passed over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from chassis.clock import ManualClock
from chassis.kafka import Record, TopicPartition
from services.analyzer.adapters.stream import StreamRecord
from services.analyzer.domain.standstill import Behind, Standing, behind, stuck
from services.analyzer.handlers.watching import Watcher

ENDS = {"triggers": 10, "incidents": 4}


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        ({"triggers": 10, "incidents": 4}, {}),
        ({"triggers": 11, "incidents": 4}, {}),
        ({"triggers": 9, "incidents": 4}, {"triggers": Behind(9, 50.0)}),
        ({"triggers": 10}, {"incidents": Behind(0, 50.0)}),
    ],
)
def test_what_is_behind(progress: dict[str, int], expected: dict[str, Behind]) -> None:
    assert behind({}, progress, ENDS, 50.0) == expected


def test_what_stands_keeps_its_time_and_what_moves_begins_anew() -> None:
    first = behind({}, {"triggers": 3, "incidents": 2}, ENDS, 50.0)
    second = behind(first, {"triggers": 3, "incidents": 3}, ENDS, 57.0)
    assert second == {"triggers": Behind(3, 50.0), "incidents": Behind(3, 57.0)}
    assert stuck(second, 59.9, 10.0) == []
    assert stuck(second, 60.0, 10.0) == ["triggers"]
    assert stuck(second, 67.0, 10.0) == ["incidents", "triggers"]


def test_what_has_caught_up_is_forgotten() -> None:
    first = behind({}, {"triggers": 3, "incidents": 4}, ENDS, 50.0)
    assert behind(first, {"triggers": 10, "incidents": 4}, ENDS, 51.0) == {}
    assert behind({}, {"triggers": 3, "incidents": 4}, ENDS, 90.0)["triggers"].since == 90.0


class Log:
    """A topic with one record that nobody handles."""

    followed_topics = ("triggers",)

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 1)

    async def read_records(self, partition: TopicPartition, first: int, last: int) -> list[Record]:
        assert (first, last) == (0, 0)
        return [StreamRecord(partition.topic, 0, 0, 0, None, b"", ())]

    async def progress(self, topics: Iterable[str]) -> dict[str, int]:
        return dict.fromkeys(topics, 0)


@pytest.mark.parametrize(
    ("pauses_s", "found"),
    [([2.0] * 5, 1), ([2.0] * 4, 0), ([60.0], 0), ([60.0, 60.0], 0), ([2.0, 60.0, 2.0, 2.0], 1)],
    ids=["10 s", "8 s", "frozen", "frozen twice", "frozen in between"],
)
async def test_only_what_stood_still_while_it_was_watched_is_handed_over(
    pauses_s: list[float], found: int
) -> None:
    clock, log, handed = ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), Log(), []

    async def hand_over(record: Record) -> None:
        handed.append(record)

    watcher = Watcher(log, log, clock, hand_over=hand_over, delivered=lambda: 0)
    await watcher.look()
    for pause_s in pauses_s:
        clock.advance(timedelta(seconds=pause_s))
        await watcher.look()
    assert len(handed) == found


def test_what_does_not_get_on_is_told_after_so_many_looks() -> None:
    standing = Standing(3)
    assert [standing.look(state) for state in (1, 1, 1, 1)] == [False, False, False, True]
    assert [standing.look(state) for state in (2, 2, 3, 3, 3)] == [False] * 5
    assert [standing.look(state) for state in (None, None, None, None, 3)] == [False] * 5
