"""What a partition notes of each fetch: which unreadable records follow each other, and whether
time stands still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from chassis.clock import ManualClock
from chassis.kafka import Record
from services.monitor.adapters.metrics import MonitorMetrics
from services.monitor.domain.engine import PartitionEngine
from services.monitor.handlers.partition import Partition
from services.monitor.handlers.ports import Decided
from tests.unit.monitor.engine_log import T0, rule

GOOD = b'{"metric":"m","component":"c","value":1,"time":%d}' % T0
BAD = b"not a sample"
MIXED = b'{"samples":[%s,5]}' % GOOD
ALL_BAD = b'{"samples":[5,6]}'


@dataclass(frozen=True)
class Fetched:
    offset: int
    value: bytes | None
    topic: str = "metrics"
    partition: int = 0
    timestamp: int = T0 * 1000
    key: bytes | None = b"c"
    headers: tuple[tuple[str, bytes], ...] = ()


class Kept:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.decided: list[Decided] = []

    async def write(self, decided: Decided) -> None:
        self.decided.append(decided)

    async def close(self) -> None: ...


def _partition(log: Kept, clock: ManualClock) -> Partition:
    engine = PartitionEngine([rule()], allowed_lateness=0.0)
    meter = MonitorMetrics(CollectorRegistry())
    return Partition(0, engine, log, meter, next_offset=0, partitions=1, clock=clock)


def _clock() -> ManualClock:
    return ManualClock(datetime.fromtimestamp(T0, UTC))


def _fetch(begin: int, values: Sequence[bytes]) -> list[Record]:
    return [Fetched(begin + index, value) for index, value in enumerate(values)]


@pytest.mark.parametrize(
    ("fetches", "in_a_row", "ends_well"),
    [
        ([[BAD, BAD]], [True, True], False),
        ([[BAD], [BAD]], [True, True], False),
        ([[GOOD, BAD]] * 3, [False, False, False], False),
        ([[BAD, GOOD]] * 3, [True, False, False], True),
        ([[GOOD], [BAD], [BAD]], [False, True], False),
        ([[GOOD, GOOD, BAD, BAD, GOOD, BAD]], [False, True, False], False),
        ([[MIXED]] * 2, [False, False], True),
        ([[MIXED, BAD, BAD]], [False, False, True], False),
        ([[BAD, MIXED], [BAD]], [True, False, False], False),
        ([[BAD, ALL_BAD, BAD]], [True, True, True, True], False),
    ],
)
async def test_which_unreadable_records_follow_each_other(
    fetches: list[list[bytes]], in_a_row: list[bool], ends_well: bool
) -> None:
    log = Kept()
    partition = _partition(log, _clock())
    for fetch in fetches:
        partition.take(_fetch(partition.next_offset, fetch))
    await partition.finish()
    (decided,) = log.decided
    assert [entry.in_a_row for entry in decided.set_aside] == in_a_row
    assert decided.ends_well is ends_well


def test_time_stands_still_under_unreadable_and_old_records() -> None:
    clock = _clock()
    partition = _partition(Kept(), clock)
    partition.take(_fetch(0, [GOOD]))
    moved = partition.time_moved
    clock.advance(timedelta(seconds=9))
    old = GOOD.replace(b"%d" % T0, b"%d" % (T0 - 60))
    partition.take(_fetch(1, [BAD, old]))
    assert partition.time_moved == moved
    newer = GOOD.replace(b"%d" % T0, b"%d" % (T0 + 1))
    partition.take([Fetched(3, newer, timestamp=(T0 + 9) * 1000)])
    assert partition.time_moved == moved + 9.0
