"""Quantiles over a window, exact: the samples of the window are kept and sorted where they are.

A histogram would bound the memory and err by about one per cent; a threshold that a rollback
hangs on is worth 32 bytes a sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.monitor.domain.quantiles import quantiles_of
from services.monitor.domain.sample_bank import SampleBank, SampleFindings
from services.monitor.domain.windows import Findings, Ints, Visible, verdicts_of


@dataclass(slots=True)
class QuantileFindings(SampleFindings):
    breaching: Ints

    def standing(self, row: int, column: int) -> int:
        low, high = self.low[row, column], self.high[row, column]
        return int(self.breaching[high] - self.breaching[low])


class QuantileBank(SampleBank):
    """Rows whose value is the ``quantile`` of the samples of the last ``window`` seconds."""

    def __init__(self, window: int, quantile: float) -> None:
        super().__init__(window, by_time=False, all_count=False)
        self._quantile = quantile

    def fold(self, samples: Visible, first: int, last: int) -> Findings:
        fresh = self._take(samples, first, last)
        held = self._held
        low, high = held.windows(self.rows, first, last)
        value = quantiles_of(held.value, low.ravel(), high.ravel(), self._quantile).reshape(low.shape)
        breaching = np.zeros(len(held.row) + 1, dtype=np.int64)
        np.cumsum(self.when.of_rows(held.row, held.value), out=breaching[1:])
        verdict = verdicts_of(self, value, high > low)
        return QuantileFindings(verdict, value, fresh, low, high, held.offset, breaching)
