"""The sum and the mean of a window's samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from services.monitor.domain.measuring.held_lanes import Frame, HeldLanes
from services.monitor.domain.measuring.measures import (
    EPSILON,
    Extent,
    Measure,
    Windows,
    counts_of,
    extent_of,
    extent_of_samples,
    relative_error,
    some_lanes,
)
from services.monitor.domain.measuring.second_figures import Figures, SecondFigures, SecondsPast
from services.monitor.domain.measuring.series_block import Inside, SeriesBlock, Steps
from services.monitor.domain.measuring.sides import Sides, running_sums, sides_within
from services.monitor.domain.measuring.spans import Spans
from services.monitor.domain.measuring.windows import Conditions, Flags, Floats, Ints

_MANY_CELLS = 16
"""With more cells a lane than this, a running sum of each lane is the faster way."""
_NEARLY = 1e-6
"""Far more than the rounding of a sum of a day's samples, relative to it."""
_CELLS = 1_000_000
"""Add up no more cells than this at once: 8 MB."""


class Sum(Measure):
    """The sum of the samples or, as ``mean``, that divided by their number.

    Added up in floats, three times 0.1 divided by three is above 0.1. A mean that rounding has taken out of
    what there is between the least and the greatest sample is the nearer of the two, so that a series that
    stands at its threshold is not above it.
    """

    def __init__(self, *, mean: bool) -> None:
        self._mean = mean

    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        """By running sums; exactly, where the difference to the threshold is within their error."""
        lanes = windows.lanes
        if not len(lanes.cells):
            return np.zeros(len(windows.row), dtype=np.bool_)
        sums, size = _sums(lanes, windows.length)
        limit = conditions.threshold[windows.row]
        size = size[windows.lane_of_row][windows.row]
        with np.errstate(invalid="ignore"):
            # A threshold may be infinite: then there is nothing to be found out.
            if self._mean:
                limit = limit * windows.spread(counts_of(windows.lanes, windows.length))
            above = windows.spread(sums) - limit
            # A sum of n numbers is off by less than n eps times the sum of their sizes.
            error = relative_error(lanes) * (size + np.abs(limit))
            accepted = conditions.of_differences(windows.row, above)
            near = np.isfinite(above) & (np.abs(above) <= error)
        return self._settled(windows, conditions, accepted, near)

    def reach(self, lanes: HeldLanes) -> Extent:
        return extent_of_samples(lanes) if self._mean else lanes.once("reach of sums", lambda: _reach(lanes))

    def extent(self, lanes: HeldLanes, length: int) -> Extent:
        frame = lanes.frame(length)
        sums, size = _sums(lanes, length)
        # Twice: what is compared with the threshold is rounded itself.
        error = 2 * relative_error(lanes) * size[frame.lane]
        least, greatest = sums - error, sums + error
        if self._mean:
            count = np.maximum(counts_of(lanes, length), 1)
            least, greatest = least / count, greatest / count
        return extent_of(frame, least, greatest)

    def exact(self, lanes: HeldLanes, low: Ints, high: Ints) -> Floats:
        total = np.empty(len(low))
        count = high - low
        cells = lanes.cells
        at = 0
        while at < len(low):
            many = max(1, _CELLS // int(count[at:].max()))
            part = slice(at, at + many)
            across = np.arange(int(count[part].max()))
            place = np.minimum(low[part, None] + across, len(cells) - 1)
            with np.errstate(over="ignore", invalid="ignore"):
                inside = np.where(across < count[part, None], cells.total[place], 0.0)
                total[part] = np.cumsum(inside, axis=1)[:, -1]
            at += many
        if not self._mean:
            return total
        with np.errstate(over="ignore", invalid="ignore"):
            mean = total / (lanes.before[high] - lanes.before[low])
        return _inside(mean, low, high, cells.lowest, cells.highest)

    def bounds(self, block: SeriesBlock) -> tuple[float, float] | None:
        if not self._mean:
            return None
        lowest, highest = block.extent
        # An average of equal values may be off by a rounding.
        slack = 1e-9 * max(abs(lowest), abs(highest))
        return lowest - slack, highest + slack

    def sides(self, block: SeriesBlock, steps: Steps, threshold: float) -> Sides:
        """By differences of running sums, open within their error."""
        upto = running_sums(block.value)
        size, samples = float(np.abs(block.value).sum()), len(block.value)
        limit = steps.count * threshold if self._mean else threshold
        # A sum of n numbers is off by less than n eps times the sum of their sizes.
        error = 16 * EPSILON * ((samples + 16) * size + samples * abs(threshold))
        return sides_within((upto[steps.high] - upto[steps.low]) - limit, error)

    def swept(self, block: SeriesBlock, steps: Steps) -> Floats:
        """Each second's samples added in their order, then the seconds from the oldest on."""
        pane_of = block.pane_of()
        panes = np.asarray(np.bincount(pane_of, weights=block.value), dtype=np.float64)
        first, beyond = pane_of[steps.low], pane_of[steps.high - 1] + 1
        total: Floats = np.zeros(len(first))
        for at in range(int((beyond - first).max())):
            pane = first + at
            total += np.where(pane < beyond, panes[np.minimum(pane, len(panes) - 1)], 0.0)
        if not self._mean:
            return total
        return _inside(total / steps.count, steps.low, steps.high, block.value, block.value)

    def value(self, inside: Inside) -> float:
        values = inside.values
        total = pane = 0.0
        before = None
        for second, value in zip(inside.seconds, values, strict=True):
            if second != before:
                total, pane, before = total + pane, 0.0, second
            pane += value
        total += pane
        if not self._mean:
            return total
        mean = total / len(values)
        if math.isfinite(mean) and abs(mean - values[0]) <= _NEARLY * abs(mean):
            return min(max(mean, min(values)), max(values))
        return mean

    def figures(self, values: Floats, size: Ints) -> Floats | None:
        """Rounded once, whatever the order of the values."""
        if not self._mean:
            return None
        every, ends = values.tolist(), np.cumsum(size).tolist()
        begins = [0, *ends[:-1]]
        return np.array([_mean_of(every[begin:end]) for begin, end in zip(begins, ends, strict=True)])

    def past(self, window: int, length: int) -> SecondsPast:
        return SecondsPast(_Means() if self._mean else _Totals(), length)


class _Totals(SecondFigures):
    """The sum of each second's samples."""

    def of_samples(self, time: Floats, value: Floats) -> Figures:
        return (value,)

    def together(self, figures: Figures, spans: Spans) -> Figures:
        return (spans.sums(figures[0]),)

    def values(self, figures: Figures) -> Floats:
        return figures[0]


class _Means(SecondFigures):
    """The sum of each second's samples, and their number."""

    columns = (np.float64, np.uint32)

    def of_samples(self, time: Floats, value: Floats) -> Figures:
        return value, np.ones(len(value))

    def together(self, figures: Figures, spans: Spans) -> Figures:
        total, number = figures
        return spans.sums(total), spans.sums(number)

    def values(self, figures: Figures) -> Floats:
        total, number = figures
        found: Floats = total / number
        return found


def _mean_of(values: Sequence[float]) -> float:
    try:
        return min(max(math.fsum(values) / len(values), min(values)), max(values))
    except OverflowError:
        return math.nan


def _inside(mean: Floats, low: Ints, high: Ints, lowest: Floats, highest: Floats) -> Floats:
    """The means of ``low`` to ``high`` (exclusive), none further out than the least of ``lowest`` and the
    greatest of ``highest`` there."""
    # Only of values that are nearly equal, and so near the first of them, can one be.
    with np.errstate(over="ignore", invalid="ignore"):
        (near,) = np.nonzero(np.isfinite(mean) & (np.abs(mean - lowest[low]) <= _NEARLY * np.abs(mean)))
    if not len(near):
        return mean
    edges = np.stack([low[near], high[near]], axis=1).ravel()
    least = np.minimum.reduceat(np.append(lowest, np.inf), edges)[::2]
    greatest = np.maximum.reduceat(np.append(highest, -np.inf), edges)[::2]
    mean[near] = np.clip(mean[near], least, greatest)
    return mean


def _reach(lanes: HeldLanes) -> Extent:
    """From the sum of all that is negative to the sum of all that is positive."""
    lowest, highest, size = np.zeros(lanes.count), np.zeros(lanes.count), np.zeros(lanes.count)
    some, begin = some_lanes(lanes)
    if len(some):
        least, greatest = lanes.cells.count * lanes.cells.lowest, lanes.cells.count * lanes.cells.highest
        lowest[some] = np.add.reduceat(np.minimum(least, 0.0), begin)
        highest[some] = np.add.reduceat(np.maximum(greatest, 0.0), begin)
        size[some] = np.add.reduceat(np.maximum(np.abs(least), np.abs(greatest)), begin)
    rounded = relative_error(lanes) * size
    return Extent(lowest - rounded, highest + rounded)


def _sums(lanes: HeldLanes, length: int) -> tuple[Floats, Floats]:
    """About the sum of each of the frame's windows; the sum of the sizes of each lane's cells."""
    edges = lanes.edges()
    size = lanes.once("sizes", lambda: _segments(np.abs(lanes.cells.total), edges[:-1], edges[1:]))
    return lanes.once(("sums", length), lambda: _sums_of(lanes, lanes.frame(length), edges)), size


def _sums_of(lanes: HeldLanes, frame: Frame, edges: Ints) -> Floats:
    if len(lanes.cells) < _MANY_CELLS * lanes.count:
        return _segments(lanes.cells.total, frame.low, frame.high)
    upto = lanes.once("running", lambda: _running(lanes.cells.total, edges))
    sums: Floats = upto[frame.high + frame.lane] - upto[frame.low + frame.lane]
    return sums


def _running(values: Floats, edges: Ints) -> Floats:
    """The sum before each cell within its lane, and after its last: one more for each lane, so that
    no lane's rounding depends on what is in others."""
    upto: Floats = np.zeros(len(values) + len(edges) - 1)
    bounds = edges.tolist()
    for lane, (begin, end) in enumerate(itertools.pairwise(bounds)):
        np.cumsum(values[begin:end], out=upto[begin + lane + 1 : end + lane + 1])
    return upto


def _segments(values: Floats, low: Ints, high: Ints) -> Floats:
    """The sum of each ``values[low:high]``; any number for an empty one."""
    both = np.stack([low, high], axis=1).ravel()
    return np.asarray(np.add.reduceat(np.append(values, 0.0), both)[::2])
