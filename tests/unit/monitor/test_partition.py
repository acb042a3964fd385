"""What a partition notes of each fetch: which unreadable records follow each other, and whether
time stands still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from chassis.clock import ManualClock
from chassis.kafka import Record
from services.monitor.adapters.metrics import MonitorMetrics
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.language.rules import Baseline, Rule
from services.monitor.handlers.partition import Partition
from services.monitor.handlers.ports import Beat, Decided
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


async def test_the_figures_of_a_partition() -> None:
    """Lag, ticks, transactions, evaluations and groups; a partition that was let go shows none of its
    gauges any more, for its next owner shows them."""
    registry, clock = CollectorRegistry(), _clock()
    engine = PartitionEngine([rule(), rule(name="other")], allowed_lateness=0.0)
    partition = Partition(
        7, engine, Kept(), MonitorMetrics(registry), next_offset=0, partitions=8, clock=clock
    )
    later = GOOD.replace(b"%d" % T0, b"%d" % (T0 + 4))
    partition.take([Fetched(0, GOOD), Fetched(1, later, timestamp=(T0 + 4) * 1000)])
    partition.note_behind(12)
    await partition.finish()

    def figure(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"backout_monitor_{name}", {"partition": "7", **labels})

    assert figure("samples_total") == 2
    assert figure("lag_records") == 12
    assert figure("tick_seconds_count") == 1
    assert figure("transaction_seconds_count") == 1
    assert figure("groups", trigger="other") == 1
    assert figure("evaluations_total") is not None
    assert figure("evaluated_through_seconds") == T0 + 4
    partition.take([Fetched(2, later.replace(b"%d" % (T0 + 4), b"%d" % (T0 + 9)), timestamp=(T0 + 9) * 1000)])
    # What a partition's first fetch makes due counts as one second.
    assert figure("evaluations_total") == 2 * (1 + 5)
    await partition.close()
    gone = (figure("lag_records"), figure("groups", trigger="other"), figure("evaluated_through_seconds"))
    assert gone == (None, None, None)
    assert figure("samples_total") == 3


@pytest.mark.parametrize("releasing", [False, True])
async def test_a_heartbeat_says_how_far_the_evaluation_has_come(releasing: bool) -> None:
    log = Kept()
    partition = _partition(log, _clock())
    partition.take(_fetch(0, [GOOD]))
    partition.note_behind(3)
    if releasing:
        await partition.finish()
    else:
        partition.beat()
        partition.write_if_due()
        await partition.close()
    (decided,) = log.decided
    assert decided.beat == Beat("released" if releasing else "evaluating", T0, 1, 3)
    assert decided.checkpoint is not None


async def test_a_partition_without_samples_beats_without_a_checkpoint() -> None:
    """Nothing was read, so there is nothing to remember."""
    log = Kept()
    partition = _partition(log, _clock())
    partition.beat()
    partition.write_if_due()
    await partition.close()
    (decided,) = log.decided
    assert decided.beat == Beat("evaluating", None, 0, 0)
    assert decided.checkpoint is None


DRAWN = [
    (60, rule("drawn", aggregate="p95", window=10, baseline=Baseline("p50", 60), when="> 0.5")),
    (240, rule("drawn", aggregate="p95", window=10, baseline=Baseline("p50", 60), when="> 0.5", to="m")),
]


@pytest.mark.parametrize(("kept", "trigger"), DRAWN)
async def test_a_baseline_from_a_draw_is_shown_and_told_once(kept: int, trigger: Rule) -> None:
    """As long as samples that it looks at were left out, which is known once their cell of a second or two
    is over."""
    registry = CollectorRegistry()
    engine = PartitionEngine([trigger], allowed_lateness=0.0)
    subject = Partition(
        0, engine, Kept(), MonitorMetrics(registry), next_offset=0, partitions=1, clock=_clock()
    )

    async def shown_after(at: int, samples: int) -> float | None:
        sample = b'{"metric":"m","component":"c","value":1,"time":%d}' % (T0 + at)
        batch = b'{"samples":[%s]}' % b",".join([sample] * samples)
        subject.take([Fetched(at, batch, timestamp=(T0 + at) * 1000)])
        await subject.finish()
        labels = {"partition": "0", "trigger": "drawn"}
        return registry.get_sample_value("backout_monitor_baseline_drawn", labels)

    with capture_logs() as logs:
        assert await shown_after(0, kept) is None
        assert await shown_after(10, 1) is None
        await shown_after(20, kept + 1)
        assert await shown_after(30, 1) == 1.0
        assert await shown_after(32, 1) == 1.0
        assert await shown_after(200, 1) is None
    assert [(entry["trigger"], entry["log_level"]) for entry in logs] == [("drawn", "info")]
