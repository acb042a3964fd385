"""Predictions that wait for their answer, and how well those of a series have come true so far.

An answer comes a whole horizon after its prediction, never earlier, not even if the breach came
at once: else the quick answers would all be yes. A prediction that no sample followed within the
horizon stays without one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from services.monitor.domain.prediction.history import TICKS

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_OPEN = TICKS + 2
"""Predictions that can wait for an answer at once; ticks may come a tenth early."""
BINS = 10
"""Probabilities are counted by tenths."""


class Answered(NamedTuple):
    """Some predictions whose horizon is over: which of the rows that were asked for, what
    it was made of and what it said, and 1.0 or 0.0 for what came."""

    which: Rows
    inputs: Array
    said: Array
    came: Array


def bin_of(probability: Array) -> Rows:
    """The tenth that a probability falls into, from 0."""
    return np.minimum((probability * BINS).astype(np.int64), BINS - 1)


class Waiting:
    """A ring of open predictions for each row, and its answers by tenths of what was said."""

    def __init__(self, size: int, width: int) -> None:
        self._width = width
        self.arrays: dict[str, npt.NDArray[Any]] = {}
        self.grow(size)

    def grow(self, size: int) -> None:
        """Make room for ``size`` series; those there are keep their rows."""
        for name, shape, kind, fill in (
            ("made", (_OPEN,), np.float64, np.nan),
            ("said", (_OPEN,), np.float64, 0.0),
            ("inputs", (_OPEN, self._width), np.float32, 0.0),
            ("followed", (_OPEN,), np.bool_, False),
            ("came", (_OPEN,), np.bool_, False),
            ("next", (), np.int64, 0),
            ("answered", (BINS,), np.int32, 0),
            ("came_true", (BINS,), np.int32, 0),
        ):
            new = np.full((size, *shape), fill, dtype=kind)
            old = self.arrays.get(name)
            if old is not None:
                new[: len(old)] = old
            self.arrays[name] = new

    def add(self, rows: Rows, now: Array, inputs: Array, said: Array) -> None:
        """A prediction of each of these rows, made now."""
        at = self.arrays["next"][rows]
        self.arrays["made"][rows, at] = now
        self.arrays["said"][rows, at] = said
        self.arrays["inputs"][rows, at] = inputs
        self.arrays["followed"][rows, at] = False
        self.arrays["came"][rows, at] = False
        self.arrays["next"][rows] = (at + 1) % _OPEN

    def answers(self, rows: Rows, now: Array, breached: Flags, horizon: float) -> Iterator[Answered]:
        """The predictions whose horizon is over now, the oldest of each row first."""
        arrays = self.arrays
        made = arrays["made"][rows]
        within = now[:, None] <= made + horizon
        followed = arrays["followed"][rows] | within
        came = arrays["came"][rows] | (within & breached[:, None])
        over = made + horizon <= now[:, None]
        arrays["followed"][rows], arrays["came"][rows] = followed, came
        arrays["made"][rows] = np.where(over, np.nan, made)
        ready = over & followed
        for step in range(_OPEN if ready.any() else 0):
            at = (arrays["next"][rows] + step) % _OPEN
            index = np.flatnonzero(ready[np.arange(len(rows)), at])
            if len(index):
                some, slot = rows[index], at[index]
                inputs = arrays["inputs"][some, slot].astype(np.float64)
                said, true = arrays["said"][some, slot], came[index, slot]
                tenth = bin_of(said)
                arrays["answered"][some, tenth] += 1
                arrays["came_true"][some, tenth] += true
                yield Answered(index, inputs, said, true.astype(np.float64))
