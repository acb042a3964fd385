"""Predictions in the hands of a partition: what is written when, and that nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from chassis.clock import ManualClock
from services.monitor.adapters.metrics import MonitorMetrics
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.prediction_checkpoint import PredictionCheckpoint
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.prediction import followed
from services.monitor.domain.prediction.alerts import PredictiveAlert
from services.monitor.domain.prediction.predictions import Predictions
from services.monitor.handlers.partition import CHECKPOINT_EVERY_S, Partition
from services.monitor.handlers.prediction_work import PredictionWork
from tests.unit.monitor.engine_log import Stored, rule
from tests.unit.monitor.prediction.prediction_log import opened, sample
from tests.unit.monitor.prediction.recordings import clockwork
from tests.unit.monitor.test_partition import Fetched, Kept

ALERT = PredictiveAlert("slowness", "ms", Condition(">", 100.0), 1_800, 0.8)
T0 = 1.7e9


class Stage:
    """A partition whose predictions are recalled by ``recall``, or at once."""

    def __init__(self, recall: Coroutine[None, None, None] | None = None) -> None:
        self.log = Kept()
        self.clock = ManualClock(datetime.fromtimestamp(T0, UTC))
        self.registry = CollectorRegistry()
        meter = MonitorMetrics(self.registry)
        self.predictions: Predictions = opened([ALERT])
        recalled = self.predictions.first_checkpoint()
        engine = PartitionEngine([rule()], allowed_lateness=0.0, watched=self.predictions.watched)
        self.work = PredictionWork(
            0,
            self.predictions,
            self.predictions.feed(engine.series),
            meter,
            self.clock,
            recalled=recalled,
            recall=self._recall(recalled) if recall is None else recall,
        )
        self.partition = Partition(
            0,
            engine,
            self.log,
            meter,
            next_offset=0,
            partitions=1,
            predictions=self.work,
            clock=self.clock,
        )

    async def _recall(self, recalled: PredictionCheckpoint) -> None:
        self.predictions.recall(recalled)

    def take(self, records: list[Stored]) -> None:
        self.partition.take([Fetched(each.offset, each.value, timestamp=each.timestamp) for each in records])

    @property
    def checkpoint(self) -> PredictionCheckpoint:
        written = self.log.decided[-1].checkpoint
        assert written is not None
        assert written.predicted is not None
        return written.predicted


def rhythm(days: int) -> list[Stored]:
    time, excess = clockwork(288 * days)
    pairs = enumerate(zip(time.tolist(), excess.tolist(), strict=True))
    return [sample(offset, "ms", "api", 100.0 + over, at) for offset, (at, over) in pairs]


async def test_alerts_are_written_with_their_record_and_the_counts_are_told() -> None:
    stage = Stage()
    await asyncio.sleep(0)
    stage.take(rhythm(2))
    await stage.partition.finish()
    (decided,) = stage.log.decided
    assert decided.outcomes == []
    kinds = [told.kind for told in decided.predictions]
    assert kinds.count("came_true") > 20
    is_open = kinds.count("raised") - kinds.count("came_true")
    assert stage.checkpoint.next_offset == 2 * 288
    metrics = generate_latest(stage.registry).decode()
    raised = 'backout_monitor_prediction_alerts_total{kind="raised",model="slowness"}'
    for line in (
        f"{raised} {kinds.count('raised')}.0",
        f'backout_monitor_prediction_alerts_open{{model="slowness",partition="0"}} {is_open}.0',
        'backout_monitor_prediction_series{model="slowness",partition="0"} 1.0',
        'backout_monitor_predictions_total{model="slowness"} 528.0',
    ):
        assert line in metrics
    brier = float(metrics.split('backout_monitor_prediction_brier_score{model="slowness"} ')[1].split()[0])
    assert 0.0 < brier < 0.2
    await stage.partition.close()
    assert "prediction_series{" not in generate_latest(stage.registry).decode()


async def test_triggers_are_written_while_predictions_are_recalled() -> None:
    let_go = asyncio.Event()

    async def recall() -> None:
        await let_go.wait()

    stage = Stage(recall())
    stage.take(rhythm(1)[:100])
    await stage.partition.predict()
    await stage.partition.finish()
    written = stage.log.decided[-1].checkpoint
    assert written is not None
    assert written.next_offset == 100
    assert stage.checkpoint.next_offset == 0
    assert stage.checkpoint.fresh
    let_go.set()
    await asyncio.sleep(0)
    stage.take(rhythm(1)[100:])
    stage.clock.advance(timedelta(seconds=CHECKPOINT_EVERY_S))
    await stage.partition.finish()
    assert stage.checkpoint.next_offset == 288
    assert not stage.checkpoint.fresh
    assert stage.log.decided[-1].predictions
    assert list(stage.log.decided[-1].prediction_states) == [b"open/slowness/api", b"series/slowness/api"]
    await stage.partition.close()


async def test_what_recalling_raised_ends_the_work() -> None:
    async def recall() -> None:
        raise ValueError("no such state")

    stage = Stage(recall())
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="no such state"):
        await stage.partition.predict()
    await stage.partition.close()


async def test_others_run_while_many_series_are_due() -> None:
    stage = Stage()
    await asyncio.sleep(0)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    stage.take([sample(number, "ms", f"c{number}", 50.0, T0) for number in range(3_000)])
    before = turns
    await stage.partition.predict()
    counting.cancel()
    assert turns - before >= 3_000 // 512
    assert not stage.work.has_news
    await stage.partition.close()


async def test_groups_beyond_the_limit_are_not_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "MAX_SERIES", 3)
    stage = Stage()
    await asyncio.sleep(0)
    stage.take([sample(number, "ms", f"c{number}", 50.0, T0) for number in range(5)])
    await stage.partition.finish()
    (alert,) = stage.predictions.alerts
    assert (len(alert), alert.refused) == (3, 2)
    await stage.partition.close()
