"""What the loop over partitions says of itself: it polls, and what is decided is written, too."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import cast

from prometheus_client import CollectorRegistry

from chassis.clock import ManualClock
from chassis.kafka import Producer, TopicPartition
from chassis.lifecycle import all_well
from chassis.settings import NotifierSettings
from services.monitor.adapters.metrics import MonitorMetrics
from services.monitor.adapters.partition_log import TRANSACTION_TIMEOUT_MS
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.handlers.partition import Partition
from services.monitor.handlers.ports import Decided
from services.monitor.handlers.watch import MAX_WRITING_S, Watch
from tests.unit.monitor.engine_log import T0, rule
from tests.unit.monitor.test_partition import GOOD, Fetched, Kept


class Hanging(Kept):
    """A transaction that is not committed before the test lets it be."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = asyncio.Event()

    async def write(self, decided: Decided) -> None:
        await self.commits.wait()
        await super().write(decided)


async def test_a_transaction_that_is_not_committed_is_told() -> None:
    clock, log = ManualClock(datetime.fromtimestamp(T0, UTC)), Hanging()

    async def take_over(number: int) -> Partition:
        engine = PartitionEngine([rule()], allowed_lateness=0.0)
        meter = MonitorMetrics(CollectorRegistry())
        return Partition(number, engine, log, meter, next_offset=0, partitions=4, clock=clock)

    watch = Watch(take_over, cast("Producer", None), clock, silence_s=5.0, heartbeat_s=5.0, max_records=100)
    place = TopicPartition("metrics", 2)
    await watch.on_partitions_assigned([place])
    (partition,) = watch._owned.values()
    partition.take([Fetched(0, GOOD)])
    partition.beat()
    partition.write_if_due()
    await asyncio.sleep(0)
    clock.advance(timedelta(seconds=MAX_WRITING_S))
    assert await watch.probe() is None
    clock.advance(timedelta(seconds=13))
    told = "no transaction is committed of partition 2 for 43 s"
    assert await watch.probe() == told
    assert await all_well(_well, watch.probe)() == told
    log.commits.set()
    await partition.finish()
    assert await watch.probe() is None
    assert await all_well(_well, watch.probe)() is None
    await watch.close()


def test_a_transaction_that_hangs_lets_no_other_monitor_be_missed() -> None:
    """What is committed later is not read until the broker, which looks every 10 s, has ended it."""
    held_up_s = TRANSACTION_TIMEOUT_MS / 1000 + 10
    assert held_up_s < NotifierSettings().heartbeat_timeout_s


async def _well() -> str | None:
    return None
