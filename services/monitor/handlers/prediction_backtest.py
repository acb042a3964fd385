"""Predictions over recorded samples, as the triggers' backtest prints them.

Samples count in the order in which they are read, by group; one that is not later than the
newest of its group is passed over. Groups are advanced together, but each as if it were alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from schemas.metrics import Sample, epoch_seconds, read_record
from services.monitor.domain.prediction.alerts import Prediction, PredictiveAlert
from services.monitor.domain.prediction.model import new_predictor
from services.monitor.domain.prediction.predictor import Predictor

Which = Literal["alerts", "all"]
Group = tuple[tuple[str, str], ...]

_AT_ONCE = 20_000


class PredictionBacktest:
    """Runs some predictive alerts over records, and keeps what is asked for: ``all``
    predictions, or those at or above their alert's confidence."""

    def __init__(self, alerts: Sequence[PredictiveAlert], which: Which) -> None:
        self._models = [_Model(alert, which) for alert in alerts]
        self._taken = 0

    def watch(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Pass lines on, each a sample or a batch, having taken them in; those that cannot be read
        are left to whom they are passed to."""
        for line in lines:
            self.take(line)
            yield line

    def take(self, record: bytes) -> None:
        """Take in the next record."""
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

    def found(self) -> list[Prediction]:
        """The predictions, in order of time, model and group."""
        self._advance()
        every = [prediction for model in self._models for prediction in model.found]
        every.sort(key=lambda one: (one.at, one.alert.model, one.group))
        return every

    def _advance(self) -> None:
        for model in self._models:
            model.advance()
        self._taken = 0


def prediction_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction as the backtest prints it."""
    at = datetime.fromtimestamp(prediction.at, UTC).isoformat().replace("+00:00", "Z")
    return {
        "at": at,
        "kind": "prediction",
        "model": prediction.alert.model,
        "group": dict(prediction.group),
        "probability": round(prediction.probability, 6),
        "horizon_s": prediction.alert.horizon,
        "value": prediction.value,
    }


@dataclass(slots=True)
class _Model:
    """One alert, its groups and their samples since the last advance."""

    alert: PredictiveAlert
    which: Which
    found: list[Prediction] = field(default_factory=list)
    named: bytes = b""
    _predictor: Predictor = field(init=False)
    _rows: dict[Group, int] = field(default_factory=dict)
    _groups: list[Group] = field(default_factory=list)
    _row: list[int] = field(default_factory=list)
    _time: list[float] = field(default_factory=list)
    _value: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.named = self.alert.metric.encode()
        self._predictor = new_predictor(self.alert.horizon)

    def add(self, sample: Sample) -> None:
        if sample.metric != self.alert.metric:
            return
        labels = sample.labels or {}
        group = tuple(
            (name, sample.component if name == "component" else labels.get(name, ""))
            for name in self.alert.group_by
        )
        row = self._rows.setdefault(group, len(self._groups))
        if row == len(self._groups):
            self._groups.append(group)
        self._row.append(row)
        self._time.append(epoch_seconds(sample.time))
        self._value.append(sample.value)

    def advance(self) -> None:
        if not self._row:
            return
        if len(self._groups) > len(self._predictor):
            self._predictor.grow(max(len(self._groups), 2 * len(self._predictor)))
        row, time = np.array(self._row, dtype=np.int64), np.array(self._time)
        value = np.array(self._value)
        excess = self.alert.excess(value)
        for picked in _rounds(row):
            said = self._predictor.observe(row[picked], time[picked], excess[picked])
            wanted = np.isfinite(said) if self.which == "all" else said >= self.alert.confidence
            self.found += [
                Prediction(
                    float(time[index]),
                    self.alert,
                    self._groups[row[index]],
                    float(chance),
                    float(value[index]),
                )
                for index, chance in zip(picked[wanted], said[wanted], strict=True)
            ]
        for collected in (self._row, self._time, self._value):
            collected.clear()


def _rounds(row: np.ndarray[Any, np.dtype[np.int64]]) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
    """Indices by turn: the first sample of each row, then the second of each, and so on."""
    order = np.argsort(row, kind="stable")
    ordered = row[order]
    begins = np.concatenate(([0], np.flatnonzero(np.diff(ordered)) + 1))
    turn = np.arange(len(row)) - np.repeat(begins, np.diff(np.concatenate((begins, [len(row)]))))
    by_turn = np.argsort(turn, kind="stable")
    ends = np.cumsum(np.bincount(turn))
    for begin, end in zip(np.concatenate(([0], ends[:-1])), ends, strict=True):
        yield order[by_turn[begin:end]]
