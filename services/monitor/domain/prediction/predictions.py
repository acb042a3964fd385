"""The predictions of one partition: a function of its log, the alerts and the allowed lateness.

Live service, restart and backtest all feed it consecutive records in whatever portions they come;
what it tells does not depend on the portions, nor on when it is snapshotted and recalled. It reads
no clock: only records move time.

Work is done in steps (``fold`` is a generator that pauses), because thousands of series that are
due at once take longer than an event loop may be kept waiting. Nothing else may be asked of a
partition's predictions until a fold is at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from services.monitor.domain.engine.prediction_checkpoint import PredictionCheckpoint
from services.monitor.domain.engine.series import Series
from services.monitor.domain.measuring.columns import NO_TIME
from services.monitor.domain.prediction.alerts import Prediction, PredictiveAlert
from services.monitor.domain.prediction.followed import FollowedAlert, Moments
from services.monitor.domain.prediction.memory import OpenAlert, RememberedSeries
from services.monitor.domain.prediction.portions import Feed, Portion, watched_labels
from services.monitor.domain.prediction.predictor import Prior
from services.monitor.domain.prediction.raised import Told

SNAPSHOT_AFTER_S = 300
"""Of event time: so old may a series' record be before a new one is written."""


class Predictions:
    """All predictive alerts on one partition of the metrics topic."""

    def __init__(
        self,
        alerts: Sequence[PredictiveAlert],
        network: Prior,
        *,
        allowed_lateness: float,
        begin: int = 0,
        keeping: bool = False,
    ) -> None:
        """``allowed_lateness`` in seconds; ``begin`` is the first offset that counts; ``keeping`` keeps
        every prediction in ``made``."""
        self._alerts = [FollowedAlert(alert, network, begin, keeping=keeping) for alert in alerts]
        self._lateness = allowed_lateness
        self._begin = self._next_offset = self._told_from = begin
        self._recalled: dict[str, FollowedAlert] = {}
        self._fresh = False
        self._due = -np.inf
        self._told: list[Told] = []
        self._changes: dict[bytes, bytes | None] = {}

    @property
    def alerts(self) -> Sequence[FollowedAlert]:
        return self._alerts

    @property
    def next_offset(self) -> int:
        """Records before it have been folded in."""
        return self._next_offset

    @property
    def watched(self) -> Mapping[str, frozenset[str]]:
        """The metrics that are looked at, with the labels."""
        return watched_labels(alert.alert for alert in self._alerts)

    def feed(self, series: Series) -> Feed:
        """What cuts portions out of columns that ``series`` numbers, which looks at ``watched``, too."""
        return Feed(series, self._alerts)

    def series_to_replay(self) -> Series:
        """Numbers for records that are read again."""
        return Series((), watched=self.watched)

    def first_checkpoint(self) -> PredictionCheckpoint:
        """That of predictions which begin."""
        return replace(self.checkpoint(), fresh=True)

    def recall(self, checkpoint: PredictionCheckpoint) -> list[str]:
        """Begin where another process stopped: then comes ``recall_one`` for each record, and ``fold``
        from ``replay_from`` on.

        Alerts whose definition the checkpoint does not know begin anew where this one was to begin;
        returns their names.
        """
        anew = []
        for alert in self._alerts:
            began = checkpoint.began.get(alert.definition)
            if began is None:
                anew.append(alert.alert.model)
            else:
                alert.begin = began
                if not checkpoint.fresh:
                    self._recalled[alert.definition] = alert
        self._fresh = checkpoint.fresh
        self._told_from = checkpoint.next_offset
        self._next_offset = checkpoint.replay_from
        self._due = -np.inf if checkpoint.replay_second is None else checkpoint.replay_second
        return anew

    def recall_one(self, memory: RememberedSeries | OpenAlert) -> None:
        """Continue a series; what is of a former definition is forgotten, and an open alert superseded.
        Raises ValueError for a series of another layout."""
        alert = self._recalled.get(memory.definition)
        if alert is None:
            self._changes[memory.key] = None
            if isinstance(memory, OpenAlert) and not self._fresh:
                raised = memory.raised
                at = max(raised.at, self._due)
                self._told.append(Told("superseded", at, self._begin, memory.alert, memory.of, raised))
        elif isinstance(memory, RememberedSeries):
            alert.recall(memory)

    def fold(self, portion: Portion) -> Iterator[None]:
        """Take in the next records, in steps."""
        if not len(portion.record_offset):
            return
        moments = self._moments(portion)
        for alert, part in zip(self._alerts, portion.parts, strict=True):
            told = yield from alert.fold(part, moments)
            self._told += [each for each in told if each.offset >= self._told_from]
        self._due = float(moments.due[-1])
        self._next_offset = int(portion.record_offset[-1]) + 1

    def _moments(self, portion: Portion) -> Moments:
        """The watermark before and after each record."""
        shown = portion.record_time - self._lateness
        due = np.where(portion.record_time == NO_TIME, -np.inf, np.floor(shown))
        due = np.maximum.accumulate(np.maximum(due, self._due))
        before = np.concatenate(([self._due], due[:-1]))
        return Moments(portion.record_offset, before, due, self._told_from)

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._told)

    def news(self) -> list[Told]:
        """What there is to tell since the last call, in the order of the log."""
        told, self._told = sorted(self._told, key=lambda each: each.order), []
        for each in told:
            memory = OpenAlert.of_told(each)
            self._changes[memory.key] = memory.to_bytes() if each.kind == "raised" else None
        return told

    def made(self) -> list[Prediction]:
        """The predictions since the last call, if they are kept."""
        return [prediction for alert in self._alerts for prediction in alert.take_made()]

    def changes(self) -> dict[bytes, bytes | None]:
        """Records to write with the news: alerts that are open now; None: no longer remembered."""
        changes, self._changes = self._changes, {}
        return changes

    def overdue(self, limit: int) -> dict[bytes, bytes]:
        """The records of series to write now, by key. At most ``limit``, those first that lack the oldest
        sample, and only what is older than ``SNAPSHOT_AFTER_S``."""
        overdue = [
            (int(offset), number, int(row))
            for number, alert in enumerate(self._alerts)
            for offset, row in zip(*alert.overdue(self._due - SNAPSHOT_AFTER_S, limit), strict=True)
        ]
        memories = (
            self._alerts[number].remember(row, self._next_offset)
            for _, number, row in sorted(overdue)[:limit]
        )
        return {memory.key: memory.to_bytes() for memory in memories}

    def checkpoint(self) -> PredictionCheckpoint:
        """Where a restart would begin."""
        lacking = [found for alert in self._alerts if (found := alert.first_lacking()) is not None]
        offset, second = min(lacking, default=(self._next_offset, self._due))
        return PredictionCheckpoint(
            next_offset=self._next_offset,
            replay_from=offset,
            replay_second=None if second == -np.inf else second,
            began={alert.definition: alert.begin for alert in self._alerts},
        )


def run_through(steps: Iterator[None]) -> None:
    """Take all steps at once."""
    for _ in steps:
        pass
