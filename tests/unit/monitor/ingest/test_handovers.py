"""The group's hand-overs: what was taken away is not taken over again before it is given again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from chassis.kafka import Consumer, Record, TopicPartition
from services.monitor.handlers.ingest import Ingest
from services.monitor.handlers.origin import OriginPartition
from tests.polling import eventually

PLACE = TopicPartition("otlp_metrics", 0)


class Owned:
    next_offset = 7

    def __init__(self) -> None:
        self.closed = False

    async def take(self, records: Sequence[Record]) -> None: ...

    async def close(self) -> None:
        self.closed = True


class Group:
    """A client in the middle of a rebalance: it still names what it had."""

    def __init__(self) -> None:
        self.sought: list[tuple[TopicPartition, int]] = []
        self.polls = 0

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset({PLACE})

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.sought.append((place, offset))

    async def getmany(self, **_: Any) -> Mapping[TopicPartition, Sequence[Record]]:
        self.polls += 1
        await asyncio.sleep(0)
        return {}


async def test_what_was_taken_away_is_left_to_its_new_owner() -> None:
    taken: list[Owned] = []

    async def take_over(place: TopicPartition) -> OriginPartition:
        assert place == PLACE
        taken.append(Owned())
        return cast("OriginPartition", taken[-1])

    group, stop = Group(), asyncio.Event()
    ingest = Ingest("otlp", take_over, max_records=10)
    ingest.attach(cast("Consumer", group))
    running = asyncio.create_task(ingest.run(stop))

    async def polled(more: int) -> None:
        before = group.polls

        async def turned() -> bool:
            return group.polls >= before + more

        await eventually(turned)

    await ingest.on_partitions_assigned([PLACE])
    await polled(3)
    assert len(taken) == 1
    assert group.sought[-1] == (PLACE, 7)
    await ingest.on_partitions_revoked([PLACE])
    await polled(5)
    assert ([each.closed for each in taken], len(taken)) == ([True], 1)
    await ingest.on_partitions_assigned([PLACE])
    await polled(3)
    assert len(taken) == 2
    stop.set()
    await running
    assert all(each.closed for each in taken)
