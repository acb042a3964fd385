"""What the monitor counts about its predictions: above all, whether they are to be trusted.

Brier score   rate(…_squared_error_total) / rate(…_answered_total), over all tenths
reliability   rate(…_came_true_total{said="0.8"}) / rate(…_answered_total{said="0.8"}), about 0.85
precision     rate(…_alerts_total{kind="came_true"}) / the same of all kinds but "raised"
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.monitor.domain.prediction.raised import Told
from services.monitor.domain.prediction.track_record import TrackRecord
from services.monitor.domain.prediction.waiting import BINS

_PREFIX = "backout_monitor_prediction"


class PredictionMetrics:
    """By model, and since the process began: predictions, their answers, and alerts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, words: str, labels: Iterable[str] = ("model",)) -> Counter:
            return Counter(f"{_PREFIX}{name}", words, labels, registry=registry)

        self._made = counter("s", "Predictions made")
        said = ("model", "said")
        self._answered = counter(
            "s_answered", "Predictions whose window is over, by the tenth that they were at least", said
        )
        self._came_true = counter("s_came_true", "Those of them that were followed by a breach", said)
        self._squared_error = counter(
            "s_squared_error", "Sum of (probability - 1 or 0)²: by the answered, the Brier score"
        )
        self._alerts = counter("_alerts", "Alerts raised, and how they ended", ("model", "kind"))
        self._brier = Gauge(
            f"{_PREFIX}_brier_score",
            "Mean of (probability - 1 or 0)² since the process began; the lower the better",
            ["model"],
            registry=registry,
        )
        places = ["partition", "model"]
        self._open = Gauge(f"{_PREFIX}_alerts_open", "Alerts that are raised now", places, registry=registry)
        self._series = Gauge(f"{_PREFIX}_series", "Series that are predicted", places, registry=registry)
        self._sums: dict[str, tuple[float, int]] = {}
        self._models: dict[int, set[str]] = {}

    def told(self, told: Told) -> None:
        self._alerts.labels(told.alert.model, told.kind).inc()

    def counted(self, partition: int, model: str, track: TrackRecord, *, is_open: int, series: int) -> None:
        """Add what was counted on a partition since the last call."""
        self._made.labels(model).inc(track.made)
        for tenth in range(BINS):
            if track.answered[tenth]:
                said = f"{tenth / BINS:.1f}"
                self._answered.labels(model, said).inc(int(track.answered[tenth]))
                self._came_true.labels(model, said).inc(int(track.came_true[tenth]))
        self._squared_error.labels(model).inc(track.squared_error)
        error, answered = self._sums.get(model, (0.0, 0))
        error, answered = error + track.squared_error, answered + int(track.answered.sum())
        self._sums[model] = error, answered
        if answered:
            self._brier.labels(model).set(error / answered)
        self._open.labels(partition, model).set(is_open)
        self._series.labels(partition, model).set(series)
        self._models.setdefault(partition, set()).add(model)

    def released(self, partition: int) -> None:
        """Another process has the partition now."""
        for model in self._models.pop(partition, ()):
            self._open.remove(partition, model)
            self._series.remove(partition, model)
