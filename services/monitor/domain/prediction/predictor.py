"""The online model: the samples of each series in, the probability of a breach out.

    sample ─▶ History (averages, rhythm, calendar) ─▶ features ─▶ Network ─▶ Correction ─▶ probability
                   ▲                                                            ▲
                   └──────────── answers, a horizon after each prediction ──────┘

Nothing is ever fitted to a past that is kept: memory and time of a sample do not grow with the age
of a series. Series are computed together, each to the same bits as if it were alone, and whatever
the portions in which its samples come.

A sample that is not later than the newest of its series is passed over.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from services.monitor.domain.prediction.correction import Correction, regressors
from services.monitor.domain.prediction.features import features
from services.monitor.domain.prediction.history import History
from services.monitor.domain.prediction.waiting import Waiting

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FORMAT = 3
"""Of a snapshot, and of what the numbers in it mean; another one is refused."""
AT_ONCE = 512
"""Rows that are computed together: so many fit the processor's cache, and take some 10 ms."""


class Prior(Protocol):
    """What turns features into a first guess (the network)."""

    @property
    def hidden(self) -> int: ...

    def forward(self, inputs: Array) -> tuple[Array, Array]: ...


@dataclass(slots=True)
class Observed:
    """What came of some samples: the probability at each, nan where none was made, and whether it
    counted. Of the earlier predictions that they answered: the index of the sample that did, what was
    said, and 1.0 or 0.0 for what came."""

    probability: Array
    counted: Flags
    answered_by: list[Rows] = field(default_factory=list)
    answered_said: list[Array] = field(default_factory=list)
    answered_came: list[Array] = field(default_factory=list)


class Predictor:
    """Many series with one horizon (seconds), each a row; ``grow`` makes room for more."""

    def __init__(self, network: Prior, horizon: float, size: int = 0) -> None:
        if not horizon > 0:
            raise ValueError("the horizon is longer than nothing")
        self._network = network
        self._history = History(size, horizon)
        self._correction = Correction(size, network.hidden)
        self._waiting = Waiting(size, 2 + network.hidden)

    def __len__(self) -> int:
        return len(self._history)

    @property
    def horizon(self) -> float:
        """Seconds."""
        return self._history.horizon

    @property
    def nbytes(self) -> int:
        """Bytes that the series take, all together."""
        return sum(array.nbytes for array in self._arrays().values())

    def grow(self, size: int) -> None:
        """Make room for ``size`` series; those there are keep their rows."""
        for part in (self._history, self._correction, self._waiting):
            part.grow(size)

    def observe(self, rows: Rows, time: Array, excess: Array) -> Array:
        """The probability of a breach at each of these samples; see ``observing``."""
        steps = self.observing(rows, time, excess)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                observed: Observed = end.value
                return observed.probability

    def observing(self, rows: Rows, time: Array, excess: Array) -> Generator[None, None, Observed]:
        """Take in samples in the order in which they were read, each of a row.

        ``excess`` is how far a value is beyond the threshold, positive while breaching. There is a
        probability at each tick, but none while breaching: at the first sample of a row, and at the
        first one that is about a sixth of the horizon after the last tick. Pauses after every
        ``AT_ONCE`` ticks, so that whoever runs it can do something else in between.
        """
        observed = Observed(np.full(len(rows), np.nan), np.zeros(len(rows), dtype=np.bool_))
        order = self._counted(np.argsort(rows, kind="stable"), rows, time, excess)
        if not len(order):
            return observed
        observed.counted[order] = True
        row, moment, over = rows[order], time[order], excess[order]
        begin, end = _spans(row)
        row = row[begin]
        self._history.arrays["seen"][row] = moment[end - 1]
        while len(row):
            stop = self._history.next_tick(row, moment, begin, end)
            self._history.gather(row, over, begin, np.minimum(stop + 1, end))
            ticking = np.flatnonzero(stop < end)
            for first in range(0, len(ticking), AT_ONCE):
                some = ticking[first : first + AT_ONCE]
                self._tick(row[some], moment[stop[some]], over[stop[some]], order[stop[some]], observed)
                yield
            ticking = ticking[stop[ticking] + 1 < end[ticking]]
            row, begin, end = row[ticking], stop[ticking] + 1, end[ticking]
        return observed

    def _counted(self, order: Rows, rows: Rows, time: Array, excess: Array) -> Rows:
        """Those of ``order`` (by row, then as read) that are later than all before them in their row."""
        if not np.isfinite(excess).all():
            order = order[np.isfinite(excess[order])]
        if not len(order):
            return order
        row, moment = rows[order], time[order]
        begin, _ = _spans(row)
        seen = self._history.arrays["seen"][row[begin]]
        seen = np.where(np.isnan(seen), -np.inf, seen)
        before = np.concatenate(([-np.inf], moment[:-1]))
        before[begin] = seen
        if (moment > before).all():
            return order
        # Ranks are whole numbers: raised by a step a row, one running maximum serves all rows.
        _, rank = np.unique(np.concatenate((moment, seen)), return_inverse=True)
        span = np.zeros(len(row), dtype=np.int64)
        span[begin] = len(rank)
        raised = rank[: len(row)] + np.cumsum(span)
        floor = rank[len(row) :] + np.cumsum(span)[begin]
        highest = raised.copy()
        highest[begin] = np.maximum(raised[begin], floor)
        highest = np.concatenate(([0], np.maximum.accumulate(highest)[:-1]))
        highest[begin] = floor
        return order[raised > highest]

    def _tick(self, rows: Rows, now: Array, excess: Array, index: Rows, observed: Observed) -> None:
        """End a tick of each row with the sample ``index`` of those that are observed."""
        breached = self._history.arrays["pane"][rows] > 0.0
        for answered in self._waiting.answers(rows, now, breached, self.horizon):
            some = rows[answered.which]
            self._history.fold_outcome(some, answered.came)
            self._correction.learn(some, answered.inputs, answered.came)
            observed.answered_by.append(index[answered.which])
            observed.answered_said.append(answered.said)
            observed.answered_came.append(answered.came)
        self._history.tick(rows, now, excess)
        quiet = ~breached & (excess <= 0.0)
        if quiet.any():
            observed.probability[index[quiet]] = self._predict(rows[quiet], now[quiet])

    def _predict(self, rows: Rows, now: Array) -> Array:
        hidden, log_odds = self._network.forward(features(self._history, rows))
        inputs = regressors(log_odds, hidden).astype(np.float32).astype(np.float64)
        said = self._correction.probability(rows, inputs)
        self._waiting.add(rows, now, inputs, said)
        return said

    def record_of(self, row: int, tenth: int) -> tuple[int, int]:
        """Of the row's predictions that said a probability within this tenth (from 0): how many were
        answered, and how many of these came true."""
        arrays = self._waiting.arrays
        return int(arrays["answered"][row, tenth]), int(arrays["came_true"][row, tenth])

    def row_bytes(self, row: int) -> bytes:
        """Everything remembered of one row, for ``load_row``."""
        return b"".join(array[row].tobytes() for array in self._arrays().values())

    def load_row(self, row: int, stored: bytes) -> None:
        """Continue a row from ``row_bytes``. Raises ValueError if they are of another layout."""
        arrays = self._arrays()
        if len(stored) != sum(array[row].nbytes for array in arrays.values()):
            raise ValueError("a series' predictions in another layout")
        at = 0
        for array in arrays.values():
            part, size = array[row], array[row].nbytes
            array[row] = np.frombuffer(stored[at : at + size], dtype=array.dtype).reshape(part.shape)
            at += size

    def snapshot(self) -> bytes:
        """Everything remembered; ``restore`` continues from it bit by bit."""
        file = io.BytesIO()
        meta = np.array([FORMAT, self.horizon], dtype=np.float64)
        np.savez(file, allow_pickle=False, meta=meta, **self._arrays())
        return file.getvalue()

    @classmethod
    def restore(cls, network: Prior, snapshot: bytes) -> Predictor:
        """The predictor that made this snapshot. Raises ValueError if it is of another format or
        network, or no snapshot."""
        try:
            with np.load(io.BytesIO(snapshot), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
            raise ValueError(f"not a snapshot of predictions: {error}") from error
        meta = arrays.pop("meta", np.zeros(2))
        if meta.shape != (2,) or meta[0] != FORMAT:
            raise ValueError("a snapshot of predictions in another format")
        made = cls(network, float(meta[1]), len(arrays.get("history.seen", ())))
        made._load(arrays)
        return made

    def _parts(self) -> Mapping[str, dict[str, npt.NDArray[Any]]]:
        return {
            "history": self._history.arrays,
            "correction": self._correction.arrays,
            "waiting": self._waiting.arrays,
        }

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            f"{part}.{name}": array for part, held in self._parts().items() for name, array in held.items()
        }

    def _load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        mine = self._arrays()
        if mine.keys() != arrays.keys():
            raise ValueError("a snapshot of predictions with other contents")
        for part, held in self._parts().items():
            for name, old in held.items():
                new = arrays[f"{part}.{name}"]
                if new.shape != old.shape or new.dtype != old.dtype:
                    raise ValueError(f"a snapshot of predictions whose {name} has another shape")
                held[name] = new


def _spans(rows: Rows) -> tuple[Rows, Rows]:
    """Where each run of equal rows begins and ends."""
    begin = np.concatenate(([0], np.flatnonzero(rows[1:] != rows[:-1]) + 1))
    return begin, np.append(begin[1:], len(rows))
