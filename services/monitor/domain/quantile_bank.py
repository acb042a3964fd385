"""p95 over a window, exact: the samples of the window are kept and sorted where they are.

A histogram would bound the memory and err by about one per cent; a threshold that a rollback
hangs on is worth 32 bytes a sample. The quantile is interpolated between the two nearest
ranks, as Prometheus and numpy do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.monitor.domain.conditions import Condition
from services.monitor.domain.windows import (
    NEVER,
    Conditions,
    Deciding,
    Findings,
    Flags,
    Floats,
    Ints,
    Verdicted,
    Visible,
    count_fresh,
    verdicts_of,
)

_CELLS = 2_000_000
"""Sort no more values than this at once: 16 MB."""
_SPAN = 1 << 40
"""More seconds than any two samples are apart, to order by (row, second) in one key."""


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
        self.latest = NEVER
        self._quantile = quantile
        self._rows = 0
        self._row = np.empty(0, dtype=np.int64)
        self._second = np.empty(0, dtype=np.int64)
        self._value = np.empty(0)
        self._offset = np.empty(0, dtype=np.int64)

    @property
    def rows(self) -> int:
        return self._rows

    def add_row(self, when: Condition, clear: Condition | None) -> int:
        self.when.add(when)
        self.clear.add(clear)
        self._rows += 1
        return self._rows - 1

    def restore(self, samples: Visible, through: int) -> None:
        self._keep(samples.only(samples.second <= through), through + 1)

    def fold(self, samples: Visible, first: int, last: int) -> Findings:
        seconds = last - first + 1
        samples = samples.only(samples.second + self.window > samples.first)
        fresh = count_fresh(self, samples, first, seconds, all_count=False)
        self._keep(samples, first)
        key = self._row * _SPAN + self._second
        evaluated = np.arange(first, last + 1)
        row_key = np.arange(self._rows)[:, None] * _SPAN
        low = np.searchsorted(key, row_key + (evaluated - self.window + 1), side="left")
        high = np.searchsorted(key, row_key + evaluated, side="right")
        value = self._quantiles(low, high)
        breaching = np.zeros(len(self._row) + 1, dtype=np.int64)
        np.cumsum(self.when.of_rows(self._row, self._value), out=breaching[1:])
        verdict = verdicts_of(self, value, high > low)
        return QuantileFindings(verdict, value, fresh, low, high, breaching, self._offset)

    def _keep(self, samples: Visible, first: int) -> None:
        """Take the samples in, drop those that no window from ``first`` on holds, and sort."""
        held: Flags = self._second + self.window > first
        if not held.all():
            self._row, self._second = self._row[held], self._second[held]
            self._value, self._offset = self._value[held], self._offset[held]
        if not len(samples.row):
            return
        row = np.concatenate([self._row, samples.row])
        second = np.concatenate([self._second, samples.second])
        order = np.argsort(row * _SPAN + second, kind="stable")
        self._row, self._second = row[order], second[order]
        self._value = np.concatenate([self._value, samples.value])[order]
        self._offset = np.concatenate([self._offset, samples.offset])[order]
        self.latest = max(self.latest, int(samples.second.max()))

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
        taken = np.minimum(low[:, None] + across, len(self._value) - 1)
        values = np.where(inside, self._value[taken], np.inf)
        values.sort(axis=1)
        rank = (count - 1) * self._quantile
        below = np.floor(rank).astype(np.int64)
        above = np.minimum(below + 1, count - 1)
        each = np.arange(len(count))
        lower, upper = values[each, below], values[each, above]
        with np.errstate(over="ignore", invalid="ignore"):
            quantiles: Floats = lower + (upper - lower) * (rank - below)
        return quantiles
