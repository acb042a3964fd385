"""The online model: each sample of each series in, the probability of a breach out.

    sample ─▶ History (averages, rhythm, calendar) ─▶ features ─▶ Network ─▶ Correction ─▶ probability
                   ▲                                                            ▲
                   └──────────── answers, a horizon after each prediction ──────┘

Nothing is ever fitted to a past that is kept: memory and time of a sample do not grow with the age
of a series. A prediction is answered once the series has gone on for a whole horizon, never
earlier, not even by a breach: else the quick answers would all be yes. One that no sample
followed within the horizon stays without an answer.

A sample that is not later than the newest of its series is passed over.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from services.monitor.domain.prediction.correction import Correction, regressors
from services.monitor.domain.prediction.features import features
from services.monitor.domain.prediction.history import TICKS, History

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

FORMAT = 1
"""Of a snapshot; another one is refused."""
_AT_ONCE = 512
"""Rows that are computed together: so many fit the processor's cache."""
_OPEN = TICKS + 2
"""Predictions that can wait for an answer at once; ticks may come a tenth early."""


class Prior(Protocol):
    """What turns features into a first guess (the network)."""

    @property
    def hidden(self) -> int: ...

    def forward(self, inputs: Array) -> tuple[Array, Array]: ...


class Predictor:
    """Many series with one horizon (seconds), each a row; ``grow`` makes room for more."""

    def __init__(self, network: Prior, horizon: float, size: int = 0) -> None:
        if not horizon > 0:
            raise ValueError("the horizon is longer than nothing")
        self._network = network
        self._history = History(size, horizon)
        self._correction = Correction(size, network.hidden)
        self._waiting = _Waiting(size, 2 + network.hidden)

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
        """Take in one sample of each of these rows, no row twice.

        ``excess`` is how far a value is beyond the threshold, positive while breaching. Returns a
        probability for each, nan where none is made: while breaching, and at samples less than
        a sixth of the horizon after the last evaluation.
        """
        if len(rows) > _AT_ONCE:
            portions = range(0, len(rows), _AT_ONCE)
            slices = (slice(begin, begin + _AT_ONCE) for begin in portions)
            return np.concatenate([self.observe(rows[some], time[some], excess[some]) for some in slices])
        said = np.full(len(rows), np.nan)
        usable = np.isfinite(excess) & ~(time <= self._history.arrays["seen"][rows])
        picked = np.flatnonzero(usable)
        ends = self._history.collect(rows[picked], time[picked], excess[picked])
        ticking = picked[ends]
        if not len(ticking):
            return said
        some, now = rows[ticking], time[ticking]
        breached = self._history.arrays["pane"][some] > 0.0
        self._answer(some, now, breached)
        self._history.tick(some, now, excess[ticking])
        quiet = ~breached & (excess[ticking] <= 0.0)
        if quiet.any():
            said[ticking[quiet]] = self._predict(some[quiet], now[quiet])
        return said

    def _predict(self, rows: Rows, now: Array) -> Array:
        hidden, log_odds = self._network.forward(features(self._history, rows))
        inputs = regressors(log_odds, hidden).astype(np.float32).astype(np.float64)
        self._waiting.add(rows, now, inputs)
        return self._correction.probability(rows, inputs)

    def _answer(self, rows: Rows, now: Array, breached: npt.NDArray[np.bool_]) -> None:
        for some, inputs, came in self._waiting.answered(rows, now, breached, self.horizon):
            self._history.fold_outcome(some, came)
            self._correction.learn(some, inputs, came)

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


class _Waiting:
    """Predictions that have no answer yet, a ring a series."""

    def __init__(self, size: int, width: int) -> None:
        self._width = width
        self.arrays: dict[str, npt.NDArray[Any]] = {}
        self.grow(size)

    def grow(self, size: int) -> None:
        """Make room for ``size`` series; those there are keep their rows."""
        for name, shape, kind, fill in (
            ("made", (_OPEN,), np.float64, np.nan),
            ("inputs", (_OPEN, self._width), np.float32, 0.0),
            ("followed", (_OPEN,), np.bool_, False),
            ("came", (_OPEN,), np.bool_, False),
            ("next", (), np.int64, 0),
        ):
            new = np.full((size, *shape), fill, dtype=kind)
            old = self.arrays.get(name)
            if old is not None:
                new[: len(old)] = old
            self.arrays[name] = new

    def add(self, rows: Rows, now: Array, inputs: Array) -> None:
        """A prediction of each of these rows, made now."""
        at = self.arrays["next"][rows]
        self.arrays["made"][rows, at] = now
        self.arrays["inputs"][rows, at] = inputs
        self.arrays["followed"][rows, at] = False
        self.arrays["came"][rows, at] = False
        self.arrays["next"][rows] = (at + 1) % _OPEN

    def answered(
        self, rows: Rows, now: Array, breached: npt.NDArray[np.bool_], horizon: float
    ) -> list[tuple[Rows, Array, Array]]:
        """The predictions whose horizon is over now, the oldest of each row first: rows, what they
        were made of, and 1.0 or 0.0 for what came."""
        arrays = self.arrays
        made = arrays["made"][rows]
        within = now[:, None] <= made + horizon
        followed = arrays["followed"][rows] | within
        came = arrays["came"][rows] | (within & breached[:, None])
        over = made + horizon <= now[:, None]
        arrays["followed"][rows], arrays["came"][rows] = followed, came
        arrays["made"][rows] = np.where(over, np.nan, made)
        ready = over & followed
        answers = []
        for step in range(_OPEN if ready.any() else 0):
            at = (arrays["next"][rows] + step) % _OPEN
            index = np.flatnonzero(ready[np.arange(len(rows)), at])
            if len(index):
                some, slot = rows[index], at[index]
                inputs = arrays["inputs"][some, slot].astype(np.float64)
                answers.append((some, inputs, came[index, slot].astype(np.float64)))
        return answers
