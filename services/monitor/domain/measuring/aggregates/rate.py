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
from services.monitor.domain.measuring.second_figures import Figures, SecondFigures, SecondsPast
from services.monitor.domain.measuring.spans import Spans
from services.monitor.domain.measuring.window_samples import WindowSamples
from services.monitor.domain.measuring.windows import (
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

    def past(self, window: int, length: int) -> SecondsPast:
        return SecondsPast(_Rises(), length)


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


class _Rises(SecondFigures):
    """Of each second's samples time and value of the first and of the last one, and what the counter had
    reached before its resets between them.

    Of a sample that comes after one of the same second with a later time nothing is known but its two
    neighbours at the ends: before the first one it is the first, between the first and the last it is passed
    over. A counter has risen from one to the other all the same, unless it was reset just there.
    """

    columns = (np.float64,) * 5

    def of_samples(self, time: Floats, value: Floats) -> Figures:
        return time, value, time, value, np.zeros(len(time))

    def within_second(self, figures: Figures, spans: Spans) -> Figures:
        first_time, _, last_time, _, _ = figures
        found = self.together(figures, spans)
        falls = first_time[1:] < last_time[:-1]
        falls[spans.begin[1:] - 1] = False
        if falls.any():
            self._put_right(found, figures, spans, np.unique(spans.of_each[1:][falls]))
        return found

    def together(self, figures: Figures, spans: Spans) -> Figures:
        first_time, first, last_time, last, lost = figures
        fell = np.concatenate([[0.0], np.where(first[1:] < last[:-1], last[:-1], 0.0)])
        upto = np.concatenate([[0], np.cumsum((fell != 0.0) | (lost != 0.0))])
        begin, end = spans.begin, spans.end
        lost_in_span = np.zeros(len(spans))
        some = np.flatnonzero(upto[end + 1] > upto[begin])
        if len(some):
            # Resets are few. Whatever came before a span's first entry was in none of it.
            with_reset = spans.only(some)
            between = with_reset.each(fell)
            between[with_reset.starts] = 0.0
            lost_in_span[some] = with_reset.sums_of_each(between + with_reset.each(lost))
        return first_time[begin], first[begin], last_time[end], last[end], lost_in_span

    def values(self, figures: Figures) -> Floats:
        first_time, first, last_time, last, lost = figures
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            risen = (last - first) + lost
            return np.where(last_time > first_time, risen / (last_time - first_time), np.nan)

    @staticmethod
    def _put_right(found: Figures, figures: Figures, spans: Spans, odd: Ints) -> None:
        """Go through those seconds that have samples out of order, one sample after the other."""
        for span, begin in zip(odd.tolist(), spans.begin[odd].tolist(), strict=True):
            rest = slice(begin + 1, begin + int(spans.size[span]))
            first_time, first, last_time, last, lost = (float(column[begin]) for column in figures)
            for time, value in zip(figures[0][rest].tolist(), figures[1][rest].tolist(), strict=True):
                if time >= last_time:
                    lost += last if value < last else 0.0
                    last_time, last = time, value
                elif time < first_time:
                    lost += value if first < value else 0.0
                    first_time, first = time, value
            for column, figure in zip(found, (first_time, first, last_time, last, lost), strict=True):
                column[span] = figure
