"""The rate of a counter over a window, in units a second.

A counter only rises, but for the restart of what counts, after which it begins at 0 again. So
between two neighbouring samples it has risen by their difference or, where that is negative,
by the later one. The rate is the whole rise divided by the time between the window's first
and last sample: nothing is extrapolated to the window's ends. It takes two samples of
different times; with fewer there is no data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.measuring.measures import OwnBank
from services.monitor.domain.measuring.window_samples import WindowSamples
from services.monitor.domain.measuring.windows import (
    NEVER,
    Conditions,
    Deciding,
    Findings,
    Floats,
    Ints,
    Matrix,
    Visible,
    count_fresh,
    verdicts_of,
)


class Rate(OwnBank):
    """What a counter rises a second."""

    def bank(self, window: int) -> RateBank:
        return RateBank(window)

    def values_at(self, window: int, samples: Visible, seconds: Ints) -> Floats:
        return RateBank(window).values_at(samples, seconds)


@dataclass(slots=True)
class RateFindings(Matrix):
    """``low`` and ``high`` (exclusive): the samples of each row's window at each second, [rows, seconds]."""

    low: Ints
    high: Ints
    offset: Ints

    def standing(self, row: int, column: int) -> int:
        return int(self.high[row, column] - self.low[row, column])

    def deciding(self, row: int, column: int) -> Deciding:
        offsets = self.offset[self.low[row, column] : self.high[row, column]]
        return Deciding(int(offsets.min()), int(offsets.max()))


class RateBank:
    """Rows whose value is the rate of the counter over the last ``window`` seconds."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.when = Conditions()
        self.clear = Conditions()
        self.rows = 0
        self._held = WindowSamples(window)

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

    def values_at(self, samples: Visible, seconds: Ints) -> Floats:
        """The rates at ``seconds``, [rows, n], over these samples alone; NaN without data."""
        self._held.keep(samples, NEVER)
        return self._rates(*self._held.windows_at(seconds))

    def fold(self, samples: Visible, first: int, last: int) -> Findings:
        samples = samples.only(samples.second + self.window > samples.first)
        # The threshold of a rate says nothing about one sample: each one counts.
        fresh = count_fresh(self.rows, samples, first, last - first + 1)
        self._held.keep(samples, first)
        low, high = self._held.windows(self.rows, first, last)
        value = self._rates(low, high)
        verdict = verdicts_of(self, value, ~np.isnan(value))
        return RateFindings(verdict, value, fresh, low, high, self._held.offset)

    def _rates(self, low: Ints, high: Ints) -> Floats:
        rates = np.full(low.shape, np.nan)
        time, value = self._held.time, self._held.value
        begin, end = low.ravel(), high.ravel() - 1
        cells = np.flatnonzero(end > begin)
        cells = cells[time[end[cells]] > time[begin[cells]]]
        if not len(cells):
            return rates
        begin, end = begin[cells], end[cells]
        with np.errstate(over="ignore", invalid="ignore"):
            risen = value[end] - value[begin]
            for at, lost in self._lost_at_resets(begin, end):
                risen[at] += lost
            rates.ravel()[cells] = risen / (time[end] - time[begin])
        return rates

    def _lost_at_resets(self, begin: Ints, end: Ints) -> list[tuple[int, float]]:
        """For each of the windows (first and last sample) with a reset: its index and what the
        counter had reached before its resets, added up from the oldest. A running total over all
        windows would round by where it began, which a restart changes."""
        value = self._held.value
        falls = np.flatnonzero(value[1:] < value[:-1])
        low = np.searchsorted(falls, begin, side="left")
        high = np.searchsorted(falls, end, side="left")
        return [
            (int(at), float(np.cumsum(value[falls[low[at] : high[at]]])[-1]))
            for at in np.flatnonzero(high > low)
        ]
