"""Quantiles of a window, exact: its samples are kept, and sorted where it takes the value.

A histogram would bound the memory and err by about one per cent; a threshold that a rollback
hangs on is worth 8 bytes a sample. Sorting each window at each second would be dear, and is
hardly ever needed: the quantile lies between the samples of two neighbouring ranks, and by
counting the samples that satisfy a condition it is known of both whether they do. Only where one
does and the other does not, the value itself is worked out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.monitor.domain.measuring.drawn_past import DrawnPast
from services.monitor.domain.measuring.held_lanes import HeldLanes
from services.monitor.domain.measuring.measures import (
    Extent,
    Looks,
    Measure,
    Windows,
    counts_of,
    extent_of_samples,
    reaching,
)
from services.monitor.domain.measuring.quantiles import quantile_of, quantiles_of
from services.monitor.domain.measuring.ranges import ranges
from services.monitor.domain.measuring.series_block import Inside, SeriesBlock, Steps
from services.monitor.domain.measuring.sides import OPEN, Sides, sides_between_ranks
from services.monitor.domain.measuring.windows import Conditions, Flags, Floats, Ints

_ALMOST = 0.999
"""So near the upper sample that a rounding might carry the value past it."""
_MORE_THAN_ANY = 1 << 62
_LONG_S = 8
"""In a shorter block it costs no more to look at each of its windows."""
_MANY_ROWS = 2
"""With so many rows a lane it is worth bounding each lane's quantiles before its rows are counted."""
_SPARSE = 4
"""Lanes are too different for columns where so many places would be taken for a cell."""
_MANY_SAMPLES = 32
"""From so many a cell on it is cheaper to look up how many were counted than to count them again."""


class Quantile(Measure):
    """The ``quantile`` of the samples, interpolated as quantiles.py says."""

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile

    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        ranks = self._ranks(windows.lanes, windows.length)
        accepting = _accepting(windows, conditions)
        # Of the ordered samples the last ones satisfy an upward condition, the first ones another.
        by_lower: Flags = accepting >= windows.spread(ranks.count - ranks.below)
        by_upper: Flags = accepting >= windows.spread(ranks.count - ranks.above)
        if not conditions.upward.all():
            upward = conditions.upward[windows.row]
            by_lower = np.where(upward, by_lower, accepting > windows.spread(ranks.below))
            by_upper = np.where(upward, by_upper, accepting > windows.spread(ranks.above))
        open_ = by_lower != by_upper
        if ranks.almost.any():
            open_ |= windows.spread(ranks.almost)
        if not conditions.are_one_sided:
            open_ |= ~conditions.one_sided[windows.row]
        return self._settled(windows, conditions, by_lower, open_)

    def _ranks(self, lanes: HeldLanes, length: int) -> _Ranks:
        return lanes.once(("ranks", self._quantile, length), lambda: self._find_ranks(lanes, length))

    def _find_ranks(self, lanes: HeldLanes, length: int) -> _Ranks:
        count = counts_of(lanes, length)
        rank = (count - 1) * self._quantile
        below = np.floor(rank).astype(np.int64)
        part = rank - below
        above = np.where(part == 0.0, below, np.minimum(below + 1, count - 1))
        return _Ranks(count, below, above, (part > _ALMOST) & (below != above))

    def reach(self, lanes: HeldLanes) -> Extent:
        return extent_of_samples(lanes)

    def extent(self, lanes: HeldLanes, length: int) -> Extent:
        """Those of the lane's samples: ``reaching`` counts them."""
        return extent_of_samples(lanes)

    def reaching(self, looks: Looks, when: Conditions) -> Flags:
        """By how many samples satisfy the condition in all the block's windows together: where those are
        fewer than the window with the least samples takes, no window's value does."""
        if looks.lanes.last - looks.lanes.first < _LONG_S:
            return super().reaching(looks, when)
        least = self._least(looks.lanes, looks.length)
        may = reaching(
            _nearer(self.extent(looks.lanes, looks.length), looks, when, least), looks.lane_of_row, when
        )
        rows = np.flatnonzero(may)
        if not len(rows):
            return may
        lane = looks.lane_of_row[rows]
        needed = np.where(when.upward[rows], least.upward[lane], least.downward[lane])
        may[rows] = _enough(looks, rows, when, needed) | least.almost[lane] | ~when.one_sided[rows]
        return may

    def _least(self, lanes: HeldLanes, length: int) -> _Least:
        return lanes.once(("least", self._quantile, length), lambda: self._find_least(lanes, length))

    def _find_least(self, lanes: HeldLanes, length: int) -> _Least:
        ranks, start = self._ranks(lanes, length), lanes.frame(length).start[:-1]
        has_data = ranks.count > 0
        upward = np.where(has_data, ranks.count - ranks.above, _MORE_THAN_ANY)
        downward = np.where(has_data, ranks.below + 1, _MORE_THAN_ANY)
        return _Least(
            np.minimum.reduceat(upward, start),
            np.minimum.reduceat(downward, start),
            np.logical_or.reduceat(ranks.almost, start),
        )

    def exact(self, lanes: HeldLanes, low: Ints, high: Ints) -> Floats:
        values, begin, end = lanes.values_between(low, high)
        return quantiles_of(values, begin, end, self._quantile)

    def bounds(self, block: SeriesBlock) -> tuple[float, float]:
        return block.extent

    def sides(self, block: SeriesBlock, steps: Steps, threshold: float) -> Sides:
        rank = (steps.count - 1) * self._quantile
        lower = np.floor(rank).astype(np.int64)
        upper = np.minimum(lower + 1, steps.count - 1)
        sides = sides_between_ranks(block, steps, threshold, lower, upper)
        almost = (rank - lower) > _ALMOST
        if almost.any():
            sides[almost & (lower != upper)] = OPEN
        return sides

    def swept(self, block: SeriesBlock, steps: Steps) -> Floats:
        return quantiles_of(block.value, steps.low, steps.high, self._quantile)

    def value(self, inside: Inside) -> float:
        return quantile_of(inside.values, self._quantile)

    def figures(self, values: Floats, size: Ints) -> Floats:
        ends = np.cumsum(size)
        return quantiles_of(values, ends - size, ends, self._quantile)

    def past(self, window: int, length: int) -> DrawnPast:
        return DrawnPast(self._quantile, window, length)


@dataclass(frozen=True, slots=True)
class _Ranks:
    """Of the frame's windows: the number of samples, the ranks (from 0) of those that the quantile lies
    between, and where it is almost the upper one."""

    count: Ints
    below: Ints
    above: Ints
    almost: Flags


@dataclass(frozen=True, slots=True)
class _Least:
    """How many samples have to satisfy an upward, or a downward, condition in some window of each lane, at
    least, for the quantile to do so; and whether it is almost the upper one of its two in any."""

    upward: Ints
    downward: Ints
    almost: Flags


def _nearer(extent: Extent, looks: Looks, when: Conditions, least: _Least) -> Extent:
    """The extent without those extremes of cells that are too few for a quantile: where ten samples are
    needed, and no cell has more than five, the second highest cell bounds what is above."""
    lanes = looks.lanes
    if len(looks.lane_of_row) < _MANY_ROWS * lanes.count or least.almost.any() or not len(lanes.cells):
        return extent
    most = int(lanes.cells.count.max())
    up, down = (-(-int(each.min()) // most) for each in (least.upward, least.downward))
    lowest, highest = extent.lowest, extent.highest
    if up > 1 and when.upward.any():
        highest = np.minimum(highest, _extreme(lanes, looks.length, up, greatest=True))
    if down > 1 and not when.upward.all():
        lowest = np.maximum(lowest, _extreme(lanes, looks.length, down, greatest=False))
    return Extent(lowest, highest)


def _extreme(lanes: HeldLanes, length: int, rank: int, *, greatest: bool) -> Floats:
    """The ``rank``-th highest (or lowest) extreme of the cells that the windows of each lane hold; beyond
    every value where there are fewer cells."""
    frame = lanes.frame(length)
    begin = frame.low[frame.start[:-1]]
    count = frame.high[frame.start[1:] - 1] - begin
    width, none = max(rank, int(count.max())), -np.inf if greatest else np.inf
    if width * lanes.count > _SPARSE * len(lanes.cells):
        return np.full(lanes.count, -none)
    every = np.full((lanes.count, width), none)
    cells = lanes.cells.highest if greatest else lanes.cells.lowest
    every[np.arange(width) < count[:, None]] = cells[ranges(begin, count)]
    at = width - rank if greatest else rank - 1
    every.partition(at, axis=1)
    return every[:, at]


def _enough(looks: Looks, rows: Ints, when: Conditions, needed: Ints) -> Flags:
    """For which of the rows so many samples of all their windows together satisfy the condition."""
    lanes, frame, lane = looks.lanes, looks.lanes.frame(looks.length), looks.lane_of_row[rows]
    begin = frame.low[frame.start[lane]]
    count = frame.high[frame.start[lane + 1] - 1] - begin
    place = np.arange(len(rows)).repeat(count)
    cell = ranges(begin, count)
    which = _some_accepted(lanes, cell, rows[place], when).nonzero()[0]
    cell, place = cell[which], place[which]
    # At first as if all samples of a cell did: most rows are out with that.
    enough: Flags = np.bincount(place, weights=lanes.cells.count[cell], minlength=len(rows)) >= needed
    left = enough[place].nonzero()[0]
    if len(left):
        cell, place = cell[left], place[left]
        counted = _counted(lanes, cell, rows[place], looks.rank_of_row, when)
        enough &= np.bincount(place, weights=counted, minlength=len(rows)) >= needed
    return enough


def _some_accepted(lanes: HeldLanes, cell: Ints, row: Ints, conditions: Conditions) -> Flags:
    """Whether any sample of each of the cells may satisfy the condition of its row."""
    some: Flags = conditions.of_rows(row, lanes.cells.highest[cell])
    if not conditions.upward.all():
        some |= conditions.of_rows(row, lanes.cells.lowest[cell])
        if not conditions.are_one_sided:
            some |= ~conditions.one_sided[row]
    return some


def _accepting(windows: Windows, conditions: Conditions) -> Ints:
    """How many of each window's samples satisfy its row's condition."""
    # For each row the cells that any of its windows holds, row after row.
    begin = windows.low[windows.start[:-1]]
    count = windows.high[windows.start[1:] - 1] - begin
    place = ranges(begin, count)
    row = np.arange(len(count)).repeat(count)
    some = _some_accepted(windows.lanes, place, row, conditions)
    before = np.zeros(len(place) + 1, dtype=np.int64)
    which = some.nonzero()[0]
    if len(which):
        before[which + 1] = _counted(windows.lanes, place[which], row[which], windows.rank_of_row, conditions)
        before.cumsum(out=before)
    shift = (count.cumsum() - count - begin)[windows.row]
    inside: Ints = before[windows.high + shift] - before[windows.low + shift]
    return inside


def _counted(lanes: HeldLanes, cell: Ints, row: Ints, rank_of_row: Ints, conditions: Conditions) -> Ints:
    """How many samples of each of the cells satisfy the condition of its row. Where they are many, that is
    known of a cell from the first time on, for each of the rows that look at its lane."""
    if lanes.cells.count[cell].sum() < _MANY_SAMPLES * len(cell):
        return _count(lanes, cell, row, conditions)
    rank = rank_of_row[row]
    found = np.empty(len(cell), dtype=np.int64)
    for each in np.bincount(rank).nonzero()[0].tolist():
        some = (rank == each).nonzero()[0]
        found[some] = _counted_once(lanes, cell[some], row[some], conditions, each)
    return found


def _counted_once(lanes: HeldLanes, cell: Ints, row: Ints, conditions: Conditions, rank: int) -> Floats:
    """As ``_counted``, of rows no two of which look at one lane."""

    def work(missing: Ints) -> tuple[Floats]:
        return (_count(lanes, cell[missing], row[missing], conditions).astype(np.float64),)

    (found,) = lanes.figures_of((conditions.origin, rank), cell, work)
    return found


def _count(lanes: HeldLanes, cell: Ints, row: Ints, conditions: Conditions) -> Ints:
    count = lanes.cells.count[cell]
    accepted = conditions.of_runs(row, count, lanes.values_of(cell))
    return np.asarray(np.add.reduceat(accepted, count.cumsum() - count, dtype=np.int64))
