"""Feeding logs to the real predictions of a partition: in portions, and with restarts in between."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from schemas.metrics import encode_clock
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.engine.prediction_checkpoint import PredictionCheckpoint
from services.monitor.domain.engine.series import Series
from services.monitor.domain.prediction.alerts import Prediction, PredictiveAlert
from services.monitor.domain.prediction.memory import read_remembered
from services.monitor.domain.prediction.model import shipped_network
from services.monitor.domain.prediction.portions import watched_labels
from services.monitor.domain.prediction.predictions import Predictions, run_through
from services.monitor.domain.prediction.raised import Told
from tests.unit.monitor.engine_log import Stored, cut

NETWORK = shipped_network()


def sample(offset: int, metric: str, component: str, value: float, time: float, **more: object) -> Stored:
    """A record that is appended at its sample's own time, or ``append``."""
    append = more.pop("append", time)
    fields = {"metric": metric, "component": component, "value": value, "time": time, **more}
    assert isinstance(append, float | int)
    return Stored(offset, round(append * 1000), json.dumps(fields).encode())


def clock(offset: int, time: float) -> Stored:
    return Stored(offset, round(time * 1000), encode_clock(time))


def fold(predictions: Predictions, records: Sequence[Stored]) -> None:
    """Take in records that are read for the first time, or again."""
    series = predictions.series_to_replay()
    portion = predictions.feed(series).portion(Intake(series).read(records).columns)
    run_through(predictions.fold(portion))


def opened(alerts: Sequence[PredictiveAlert], *, lateness: float = 0.0, begin: int = 0) -> Predictions:
    return Predictions(alerts, NETWORK, allowed_lateness=lateness, begin=begin, keeping=True)


def run(
    alerts: Sequence[PredictiveAlert],
    log: Sequence[Stored],
    *,
    lateness: float = 0.0,
    portions: Sequence[int] = (),
) -> tuple[list[Told], list[Prediction], Predictions]:
    """What is told and predicted, fed in portions that end after the given numbers of records."""
    predictions = opened(alerts, lateness=lateness)
    series = Series((), watched=watched_labels(alerts))
    feed, intake = predictions.feed(series), Intake(series)
    told: list[Told] = []
    for portion in cut(log, portions):
        run_through(predictions.fold(feed.portion(intake.read(portion).columns)))
        told += predictions.news()
    return told, predictions.made(), predictions


class Restarts:
    """One after the other works on a log; what is written is all that the next one gets."""

    def __init__(self, alerts: Sequence[PredictiveAlert], lateness: float) -> None:
        self.alerts = alerts
        self._lateness = lateness
        self.stored: dict[bytes, bytes] = {}
        self.checkpoint: PredictionCheckpoint | None = None
        self.told: list[Told] = []
        self.anew: list[str] = []
        self.predictions = opened(alerts, lateness=lateness)

    def work(self, records: Sequence[Stored], limit: int) -> None:
        """Take in records, then write with at most ``limit`` series."""
        fold(self.predictions, records)
        self.write(limit)

    def write(self, limit: int) -> None:
        self.told += self.predictions.news()
        for key, value in self.predictions.changes().items():
            if value is None:
                self.stored.pop(key, None)
            else:
                self.stored[key] = value
        self.stored.update(self.predictions.overdue(limit))
        self.checkpoint = self.predictions.checkpoint()

    def restart(self, log: Sequence[Stored], alerts: Sequence[PredictiveAlert] | None = None) -> None:
        """Forget all but what is written, read again what is needed of ``log``."""
        self.alerts = self.alerts if alerts is None else alerts
        made = self.checkpoint
        assert made is not None
        read_to = made.next_offset
        self.predictions = opened(self.alerts, lateness=self._lateness, begin=read_to)
        self.anew = self.predictions.recall(made)
        for key, value in self.stored.items():
            self.predictions.recall_one(read_remembered(key, value))
        again = [record for record in log if made.replay_from <= record.offset < read_to]
        for portion in cut(again, range(0, len(again), 7)):
            fold(self.predictions, portion)


def run_with_restarts(
    alerts: Sequence[PredictiveAlert],
    log: Sequence[Stored],
    *,
    lateness: float,
    restarts: Iterable[int],
    limit: int,
) -> tuple[list[Told], Predictions]:
    """As ``run``, but after each portion another process takes over."""
    stage = Restarts(alerts, lateness)
    for portion in cut(log, list(restarts)):
        stage.work(portion, limit)
        stage.restart(log)
    stage.write(limit)
    return stage.told, stage.predictions


def memory_of(predictions: Predictions) -> dict[str, bytes]:
    """Everything remembered of each series, however old its record."""
    found = {}
    for alert in predictions.alerts:
        for row in range(len(alert)):
            memory = alert.remember(row, predictions.next_offset)
            found[f"{alert.alert.model}: {memory.of}"] = memory.to_bytes()
    return found
