"""Predictions over recorded samples, as the triggers' backtest prints them.

Samples of a file count in the order in which they are read, by group; one that is not later than the
newest of its group is passed over. Over the topic each partition is predicted as it is live. What
was predicted is sorted by time at the end: a month of it is kept as 32 bytes each, in sorted runs
that ``keep_run`` may put aside.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from schemas.metrics import Sample, epoch_seconds, read_record
from services.monitor.domain.language.groups import COMPONENT, Group, Labels
from services.monitor.domain.prediction.alerts import Prediction, PredictiveAlert
from services.monitor.domain.prediction.model import shipped_network
from services.monitor.domain.prediction.predictions import Predictions
from services.monitor.domain.prediction.predictor import Predictor, Prior
from services.monitor.domain.prediction.raised import Told
from services.monitor.handlers.backtest import SampleTable

Which = Literal["alerts", "all"]
Run = npt.NDArray[np.void]
KeepRun = Callable[[Run], Run]
"""Puts a run aside, and gives one that reads the same."""

_AT_ONCE = 20_000
_IN_A_RUN = 1_000_000
_RECORD = np.dtype([("at", "f8"), ("alert", "i4"), ("group", "i4"), ("probability", "f8"), ("value", "f8")])


class PredictionBacktest:
    """Runs some predictive alerts over records, and keeps what is asked for: ``all``
    predictions, or those at or above their alert's confidence."""

    def __init__(
        self, alerts: Sequence[PredictiveAlert], which: Which, keep_run: KeepRun = lambda run: run
    ) -> None:
        self.alerts = tuple(alerts)
        self.told: list[Told] = []
        """Over the topic: the alerts that the live service tells."""
        self.until = math.inf
        """What is predicted at samples that are later (epoch seconds) is left out."""
        self._which = which
        self._network = shipped_network()
        self._models = [_Model(alert, self._network) for alert in alerts]
        self._taken = 0
        self._found = _Found(self.alerts, keep_run)

    def watch(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Pass lines on, each a sample or a batch, having taken them in; those that cannot be read
        are left to whom they are passed to."""
        for line in lines:
            self.take(line)
            yield line

    def watch_tables(self, tables: Iterable[SampleTable]) -> Iterator[SampleTable]:
        """Pass tables on, having taken them in. They hold the labels that the alerts group by."""
        for table in tables:
            for model in self._models:
                self._add(model.take_table(table))
            yield table

    def take(self, record: bytes) -> None:
        """Take in the next line."""
        stripped = record.strip()
        # A name that is written with escapes is only found by decoding it.
        if b"\\u" not in stripped and not any(model.named in stripped for model in self._models):
            return
        for sample in read_record(stripped).samples:
            for model in self._models:
                model.add(sample)
            self._taken += 1
        if self._taken >= _AT_ONCE:
            self._advance()

    def partition(self, allowed_lateness: float, begin: int) -> Predictions:
        """What predicts a partition of the topic from the offset ``begin`` on; give it to ``collect``
        after each portion."""
        return Predictions(
            self.alerts, self._network, allowed_lateness=allowed_lateness, begin=begin, keeping=True
        )

    def collect(self, predictions: Predictions) -> None:
        """Take over what a partition has predicted."""
        self.told += predictions.news()
        self._add(predictions.made())

    def found(self) -> Iterator[Prediction]:
        """The predictions, in order of time, model and group."""
        self._advance()
        return self._found.in_order()

    def _advance(self) -> None:
        for model in self._models:
            self._add(model.advance())
        self._taken = 0

    def _add(self, made: Iterable[Prediction]) -> None:
        self._found.add(
            [each for each in made if each.at <= self.until and (self._which == "all" or each.alerts)]
        )


def prediction_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction as the backtest prints it."""
    at = datetime.fromtimestamp(prediction.at, UTC).isoformat().replace("+00:00", "Z")
    return {
        "at": at,
        "kind": "prediction",
        "model": prediction.alert.model,
        "group": prediction.of.as_mapping(),
        "probability": round(prediction.probability, 6),
        "horizon_s": prediction.alert.horizon,
        "value": prediction.value,
    }


class _Found:
    """Predictions in a compact form, in runs that are sorted."""

    def __init__(self, alerts: Sequence[PredictiveAlert], keep_run: KeepRun) -> None:
        self._alerts = alerts
        self._number = {alert.model: number for number, alert in enumerate(alerts)}
        self._keep_run = keep_run
        self._group_number: dict[Group, int] = {}
        self._groups: list[Group] = []
        self._waiting: list[tuple[float, int, int, float, float]] = []
        self._runs: list[Run] = []

    def add(self, made: Iterable[Prediction]) -> None:
        for each in made:
            group = self._group_number.setdefault(each.of, len(self._groups))
            if group == len(self._groups):
                self._groups.append(each.of)
            alert = self._number[each.alert.model]
            self._waiting.append((each.at, alert, group, each.probability, each.value))
        if len(self._waiting) >= _IN_A_RUN:
            self._close_run()

    def _close_run(self) -> None:
        run = np.array(self._waiting, dtype=_RECORD)
        self._waiting.clear()
        models = _ranks([alert.model for alert in self._alerts])[run["alert"]]
        order = np.lexsort((_ranks(self._groups)[run["group"]], models, run["at"]))
        self._runs.append(self._keep_run(run[order]))

    def in_order(self) -> Iterator[Prediction]:
        if self._waiting:
            self._close_run()
        return heapq.merge(*map(self._read, self._runs), key=lambda one: (one.at, one.alert.model, one.of))

    def _read(self, run: Run) -> Iterator[Prediction]:
        for begin in range(0, len(run), _AT_ONCE):
            for at, alert, group, probability, value in run[begin : begin + _AT_ONCE].tolist():
                yield Prediction(at, self._alerts[alert], self._groups[group], probability, value)


def _ranks(values: Sequence[Any]) -> npt.NDArray[np.int64]:
    """The place of each value among all of them in order."""
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[sorted(range(len(values)), key=values.__getitem__)] = np.arange(len(values))
    return ranks


@dataclass(slots=True)
class _Model:
    """One alert, its groups and their samples since the last advance."""

    alert: PredictiveAlert
    network: Prior
    named: bytes = b""
    _predictor: Predictor = field(init=False)
    _rows: dict[Group, int] = field(default_factory=dict)
    _groups: list[Group] = field(default_factory=list)
    _row: list[int] = field(default_factory=list)
    _time: list[float] = field(default_factory=list)
    _value: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.named = self.alert.metric.encode()
        self._predictor = Predictor(self.network, self.alert.horizon)

    def _row_of(self, component: str, labels: Labels) -> int:
        pairs = ((name, labels.get(name, "")) for name in sorted(self.alert.group_by) if name != COMPONENT)
        group = Group(component, tuple(pairs))
        row = self._rows.setdefault(group, len(self._groups))
        if row == len(self._groups):
            self._groups.append(group)
        return row

    def add(self, sample: Sample) -> None:
        if sample.metric != self.alert.metric:
            return
        self._row.append(self._row_of(sample.component, sample.labels or {}))
        self._time.append(epoch_seconds(sample.time))
        self._value.append(sample.value)

    def take_table(self, table: SampleTable) -> list[Prediction]:
        """Predict at the samples of a table."""
        if self.alert.metric not in table.metrics:
            return []
        picked = np.flatnonzero(table.metric == table.metrics.index(self.alert.metric))
        rows = self._rows_of(table, picked)
        return self._predict(rows, table.time[picked], table.value[picked])

    def _rows_of(self, table: SampleTable, picked: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The row of each picked sample's group. Components and labels are told apart by their codes, one
        after the other, so that no product of them all is needed."""
        codes, which = np.unique(table.component[picked], return_inverse=True)
        found: list[tuple[str, dict[str, str]]] = [(table.components[code], {}) for code in codes.tolist()]
        for name in sorted(self.alert.selection.labels):
            texts, label = table.labels[name]
            codes, which = np.unique(which * len(texts) + label[picked], return_inverse=True)
            pairs = [divmod(code, len(texts)) for code in codes.tolist()]
            found = [(found[at][0], found[at][1] | {name: texts[value]}) for at, value in pairs]
        rows = np.array([self._row_of(component, labels) for component, labels in found], dtype=np.int64)
        return rows[which]

    def advance(self) -> list[Prediction]:
        """Predict at the samples that were added."""
        if not self._row:
            return []
        row, time = np.array(self._row, dtype=np.int64), np.array(self._time)
        value = np.array(self._value)
        for collected in (self._row, self._time, self._value):
            collected.clear()
        return self._predict(row, time, value)

    def _predict(
        self, row: npt.NDArray[np.int64], time: npt.NDArray[np.float64], value: npt.NDArray[np.float64]
    ) -> list[Prediction]:
        if len(self._groups) > len(self._predictor):
            self._predictor.grow(max(len(self._groups), 2 * len(self._predictor)))
        said = self._predictor.observe(row, time, self.alert.excess(value))
        return [
            Prediction(
                float(time[index]),
                self.alert,
                self._groups[row[index]],
                float(said[index]),
                float(value[index]),
            )
            for index in np.flatnonzero(np.isfinite(said)).tolist()
        ]
