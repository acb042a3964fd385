"""The standard deviation of a window's samples, of the population: divided by their number, not one less.

The samples of each second are a *pane* with a number n, a mean m and a sum of squares q around that mean. Of
panes together the mean M is that of the means, weighted, and the sum of squares is Σ (q + n (m - M)²), as in
T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance" (1983). Nothing is
taken from a sum of squares, which for values that are large beside their spread would leave but noise; and
means are worked out as distances from a sample, so that equal samples deviate by exactly 0.

Values are seldom needed: of n samples whose extremes are R apart it lies between R / √(2n) and R / 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np

from services.monitor.domain.measuring.extremes import extremes_of_frame
from services.monitor.domain.measuring.held_lanes import HeldLanes, cells_between
from services.monitor.domain.measuring.measures import (
    EPSILON,
    Extent,
    Measure,
    Windows,
    counts_of,
    extent_of,
    extent_of_samples,
    relative_error,
)
from services.monitor.domain.measuring.second_figures import Figures, SecondFigures, SecondsPast
from services.monitor.domain.measuring.series_block import Inside, SeriesBlock, Steps
from services.monitor.domain.measuring.sides import ABOVE, Sides, running_sums, sides_within
from services.monitor.domain.measuring.spans import Spans
from services.monitor.domain.measuring.windows import Conditions, Flags, Floats, Ints

_CELLS = 1_000_000
"""Merge no more panes than this at once: 8 MB for each figure."""


class Deviation(Measure):
    """How far the samples are from their mean, in their own unit; 0 for one sample."""

    largest = 1e150
    """Squares of larger distances may overflow."""

    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        """By the bounds; exactly, where one of them satisfies the condition and the other does not."""
        least, greatest = (windows.spread(bound) for bound in _bounds_of_frame(windows.lanes, windows.length))
        accepted = conditions.of_rows(windows.row, least)
        open_ = accepted != conditions.of_rows(windows.row, greatest)
        if not conditions.are_one_sided:
            open_ |= (least != greatest) & ~conditions.one_sided[windows.row]
        return self._settled(windows, conditions, accepted, open_)

    def reach(self, lanes: HeldLanes) -> Extent:
        samples = extent_of_samples(lanes)
        return Extent(np.zeros(lanes.count), (samples.highest - samples.lowest) / 2)

    def extent(self, lanes: HeldLanes, length: int) -> Extent:
        return extent_of(lanes.frame(length), *_bounds_of_frame(lanes, length))

    def exact(self, lanes: HeldLanes, low: Ints, high: Ints) -> Floats:
        if not len(low):
            return np.empty(0)
        cells, begin, end = cells_between(low, high)
        count = lanes.cells.count[cells]

        def work(missing: Ints) -> tuple[Floats, Floats]:
            return _figures(lanes.values_of(cells[missing]), count[missing])

        return _Panes(count, *lanes.figures_of("deviation", cells, work)).merged(begin, end)

    def bounds(self, block: SeriesBlock) -> tuple[float, float]:
        lowest, highest = block.extent
        width, size = highest - lowest, max(abs(lowest), abs(highest))
        error = 16 * EPSILON * ((len(block.value) + 16) * width + size)
        return 0.0, width / 2 + error if width else 0.0

    def sides(self, block: SeriesBlock, steps: Steps, threshold: float) -> Sides:
        """By sums of squares around the middle of the block, open within their error: only in being compared
        may they be off by that."""
        if threshold < 0.0:
            return np.full(len(steps.at), ABOVE, dtype=np.int8)
        lowest, highest = block.extent
        samples, size = len(block.value), max(abs(lowest), abs(highest))
        distance = block.value - (lowest / 2 + highest / 2)
        furthest = float(np.abs(distance).max())
        upto, squares = running_sums(distance), running_sums(distance * distance)
        count = np.maximum(steps.count, 1).astype(np.float64)
        sums = upto[steps.high] - upto[steps.low]
        with np.errstate(over="ignore", invalid="ignore"):
            limit = count * threshold * threshold
            above = (squares[steps.high] - squares[steps.low]) - sums * sums / count - limit
            # A sum is off by n eps times the sizes in it, the value itself by that and its mean's rounding.
            error = (samples + 16) * samples * furthest**2 + samples * size * furthest + limit
            return sides_within(above, 64 * EPSILON * error + samples * (16 * EPSILON * size) ** 2)

    def swept(self, block: SeriesBlock, steps: Steps) -> Floats:
        pane_of = block.pane_of()
        count = np.bincount(pane_of)
        panes = _Panes(count, *_figures(block.value, count))
        return panes.merged(pane_of[steps.low], pane_of[steps.high - 1] + 1)

    def value(self, inside: Inside) -> float:
        pairs = zip(inside.seconds, inside.values, strict=True)
        panes = [_pane([value for _, value in of_second]) for _, of_second in groupby(pairs, itemgetter(0))]
        count, shift, away = len(inside), panes[0][1], 0.0
        for number, mean, _ in panes:
            away += number * (mean - shift)
        middle, squares = shift + away / count, 0.0
        for number, mean, of_pane in panes:
            squares += of_pane + number * ((mean - middle) * (mean - middle))
        return math.sqrt(squares / count)

    def past(self, window: int, length: int) -> SecondsPast:
        return SecondsPast(_Deviations(), length)


class _Deviations(SecondFigures):
    """Of each second's samples their number, the first of them, and the sums of the distances from it and of
    their squares.

    The mean is not known before the last of them has come, late ones included. A sample is never further
    than √(n - 1) deviations from it (P. A. Samuelson, "How deviant can you be?", 1968), so that what these
    sums leave of the squares around the mean is off by some n² roundings, and 0 for equal samples.
    """

    columns = (np.uint32, np.float64, np.float64, np.float64)

    def of_samples(self, time: Floats, value: Floats) -> Figures:
        nothing = np.zeros(len(value))
        return np.ones(len(value)), value, nothing, nothing

    def within_second(self, figures: Figures, spans: Spans) -> Figures:
        number, value, sums, squares = figures
        shift = value[spans.begin]
        with np.errstate(over="ignore", invalid="ignore"):
            away = value - shift[spans.of_each]
            sums, squares = sums + away, squares + away * away
        return spans.sums(number), shift, spans.sums(sums), spans.sums(squares)

    def together(self, figures: Figures, spans: Spans) -> Figures:
        number, mean, squares = (spans.each(column) for column in self._around_mean(figures))
        shift, of_each = mean[spans.starts], spans.of_each
        every = spans.sums_of_each(number)
        with np.errstate(over="ignore", invalid="ignore"):
            middle = shift + spans.sums_of_each(number * (mean - shift[of_each])) / every
            from_middle = mean - middle[of_each]
            squares = spans.sums_of_each(squares + number * (from_middle * from_middle))
        return every, middle, np.zeros(len(spans)), squares

    def values(self, figures: Figures) -> Floats:
        number, _, squares = self._around_mean(figures)
        with np.errstate(over="ignore", invalid="ignore"):
            found: Floats = np.sqrt(squares / number)
        return found

    @staticmethod
    def _around_mean(figures: Figures) -> tuple[Floats, Floats, Floats]:
        """Numbers, means and the sums of squares around them."""
        number, shift, sums, squares = figures
        with np.errstate(over="ignore", invalid="ignore"):
            mean = sums / number
            return number, shift + mean, np.maximum(squares - sums * mean, 0.0)


def _figures(values: Floats, count: Ints) -> tuple[Floats, Floats]:
    """The mean of each pane, and the sum of squares around it; the panes' values stand one pane after the
    other, ``count`` of each."""
    pane = np.repeat(np.arange(len(count)), count)
    shift = values[np.cumsum(count) - count]
    with np.errstate(over="ignore", invalid="ignore"):
        mean = shift + np.bincount(pane, weights=values - shift[pane]) / count
        from_mean = values - mean[pane]
        return mean, np.bincount(pane, weights=from_mean * from_mean).astype(np.float64, copy=False)


class _Panes:
    """The samples of some seconds: how many each has, their mean, and their squares around it."""

    def __init__(self, count: Ints, mean: Floats, squares: Floats) -> None:
        self.count: Floats = count.astype(np.float64)
        self.mean, self.squares = mean, squares

    def merged(self, low: Ints, high: Ints) -> Floats:
        """The deviation of the panes ``low`` to ``high`` (exclusive) of each window, from the oldest on."""
        found = np.empty(len(low))
        width = high - low
        at = 0
        while at < len(low):
            part = slice(at, at + max(1, _CELLS // int(width[at:].max())))
            found[part] = self._of_windows(low[part], width[part])
            at = part.stop
        return found

    def _of_windows(self, low: Ints, width: Ints) -> Floats:
        across = np.arange(int(width.max()))
        inside = across < width[:, None]
        place = np.minimum(low[:, None] + across, len(self.count) - 1)
        number, mean = np.where(inside, self.count[place], 0.0), self.mean[place]
        count, shift = number.sum(axis=1), self.mean[low]
        with np.errstate(over="ignore", invalid="ignore"):
            away = np.where(inside, number * (mean - shift[:, None]), 0.0)
            middle = shift + np.cumsum(away, axis=1)[:, -1] / count
            from_middle = mean - middle[:, None]
            squares = np.where(inside, self.squares[place] + number * (from_middle * from_middle), 0.0)
            deviation: Floats = np.sqrt(np.cumsum(squares, axis=1)[:, -1] / count)
        return deviation


def _pane(values: Sequence[float]) -> tuple[int, float, float]:
    """Number, mean and squares around it, by the operations of ``_figures`` in their order."""
    shift, away, squares = values[0], 0.0, 0.0
    for value in values:
        away += value - shift
    mean = shift + away / len(values)
    for value in values:
        squares += (value - mean) * (value - mean)
    return len(values), mean, squares


def _bounds_of_frame(lanes: HeldLanes, length: int) -> tuple[Floats, Floats]:
    """Between what the value of each of the frame's windows is, roundings included; anything for an empty
    one."""

    def work() -> tuple[Floats, Floats]:
        lowest = extremes_of_frame(lanes, length, greatest=False)
        highest = extremes_of_frame(lanes, length, greatest=True)
        width, count = highest - lowest, np.maximum(counts_of(lanes, length), 1)
        error = relative_error(lanes) * width + 16 * EPSILON * np.maximum(np.abs(lowest), np.abs(highest))
        least = np.maximum(width / np.sqrt(2.0 * count) - error, 0.0)
        return least, np.where(width > 0.0, width / 2 + error, 0.0)

    return lanes.once(("bounds of deviations", length), work)
