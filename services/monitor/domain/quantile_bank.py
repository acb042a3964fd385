"""Quantiles over a window, exact: the samples of the window are kept and sorted where they are.

A histogram would bound the memory and err by about one per cent; a threshold that a rollback
hangs on is worth 32 bytes a sample. The quantile is interpolated between the two nearest
ranks, as Prometheus and numpy do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.monitor.domain.conditions import Condition
from services.monitor.domain.window_samples import WindowSamples
from services.monitor.domain.windows import (
    Conditions,
    Deciding,
    Findings,
    Floats,
    Ints,
    Verdicted,
    Visible,
    count_fresh,
    verdicts_of,
)

_CELLS = 2_000_000
"""Sort no more values than this at once: 16 MB."""


@dataclass(slots=True)
class QuantileFindings(Verdicted):
    low: Ints
    high: Ints
    breaching: Ints
    offset: Ints

    def standing(self, row: int, column: int) -> int:
        low, high = self.low[row, column], self.high[row, column]
        return int(self.breaching[high] - self.breaching[low])

    def deciding(self, row: int, column: int) -> Deciding:
        offsets = self.offset[self.low[row, column] : self.high[row, column]]
        return Deciding(int(offsets.min()), int(offsets.max()))


class QuantileBank:
    """Rows whose value is the ``quantile`` of the samples of the last ``window`` seconds."""

    def __init__(self, window: int, quantile: float) -> None:
        self.window = window
        self.when = Conditions()
        self.clear = Conditions()
        self.rows = 0
        self._quantile = quantile
        self._held = WindowSamples(window, by_time=False)

    @property
    def latest(self) -> int:
        return self._held.latest

    def add_row(self, when: Condition, clear: Condition | None) -> int:
        self.when.add(when)
        self.clear.add(clear)
        self.rows += 1
        return self.rows - 1

    def restore(self, samples: Visible, through: int) -> None:
        self._held.keep(samples.only(samples.second <= through), through + 1)

    def fold(self, samples: Visible, first: int, last: int) -> Findings:
        seconds = last - first + 1
        samples = samples.only(samples.second + self.window > samples.first)
        fresh = count_fresh(self, samples, first, seconds, all_count=False)
        held = self._held
        held.keep(samples, first)
        low, high = held.windows(self.rows, first, last)
        value = self._quantiles(low, high)
        breaching = np.zeros(len(held.row) + 1, dtype=np.int64)
        np.cumsum(self.when.of_rows(held.row, held.value), out=breaching[1:])
        verdict = verdicts_of(self, value, high > low)
        return QuantileFindings(verdict, value, fresh, low, high, breaching, held.offset)

    def _quantiles(self, low: Ints, high: Ints) -> Floats:
        result = np.full(low.shape, np.nan)
        flat_low, count = low.ravel(), (high - low).ravel()
        flat = result.ravel()
        (cells,) = np.nonzero(count)
        at = 0
        while at < len(cells):
            # As many cells as fit, each as wide as the widest of the next ones.
            wide = int(count[cells[at : at + 1_024]].max())
            chunk = cells[at : at + max(1, min(1_024, _CELLS // wide))]
            flat[chunk] = self._of_cells(flat_low[chunk], count[chunk])
            at += len(chunk)
        return flat.reshape(low.shape)

    def _of_cells(self, low: Ints, count: Ints) -> Floats:
        across = np.arange(int(count.max()))
        inside = across < count[:, None]
        held = self._held.value
        taken = np.minimum(low[:, None] + across, len(held) - 1)
        values = np.where(inside, held[taken], np.inf)
        values.sort(axis=1)
        rank = (count - 1) * self._quantile
        below = np.floor(rank).astype(np.int64)
        above = np.minimum(below + 1, count - 1)
        each = np.arange(len(count))
        lower, upper = values[each, below], values[each, above]
        with np.errstate(over="ignore", invalid="ignore"):
            quantiles: Floats = lower + (upper - lower) * (rank - below)
        return quantiles
