"""Quantiles of a window, exact: its samples are kept, and sorted where it takes the value.

A histogram would bound the memory and err by about one per cent; a threshold that a rollback
hangs on is worth 8 bytes a sample. Sorting each window at each second would be dear, and is
hardly ever needed: the quantile lies between the samples of two neighbouring ranks, and by
counting the samples that satisfy a condition it is known of both whether they do. Only where one
does and the other does not, the value itself is worked out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.monitor.domain.measuring.held_lanes import HeldLanes
from services.monitor.domain.measuring.measures import Extent, Measure, Windows, counts_of, extent_of_samples
from services.monitor.domain.measuring.quantiles import quantile_of, quantiles_of
from services.monitor.domain.measuring.ranges import ranges
from services.monitor.domain.measuring.series_block import Inside, SeriesBlock, Steps
from services.monitor.domain.measuring.sides import OPEN, Sides, sides_between_ranks
from services.monitor.domain.measuring.windows import Conditions, Flags, Floats, Ints

_ALMOST = 0.999
"""So near the upper sample that a rounding might carry the value past it."""
_MANY_SAMPLES = 32
"""From so many a cell on it is cheaper to look up how many were counted than to count them again."""


class Quantile(Measure):
    """The ``quantile`` of the samples, interpolated as quantiles.py says."""

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile

    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        lanes = windows.lanes
        ranks = lanes.once(("ranks", self._quantile, windows.length), lambda: self._ranks(windows))
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

    def _ranks(self, windows: Windows) -> _Ranks:
        count = counts_of(windows.lanes, windows.length)
        rank = (count - 1) * self._quantile
        below = np.floor(rank).astype(np.int64)
        part = rank - below
        above = np.where(part == 0.0, below, np.minimum(below + 1, count - 1))
        return _Ranks(count, below, above, (part > _ALMOST) & (below != above))

    def reach(self, lanes: HeldLanes) -> Extent:
        return extent_of_samples(lanes)

    def extent(self, lanes: HeldLanes, length: int) -> Extent:
        """Those of the lane's samples: counting them comes soon enough."""
        return extent_of_samples(lanes)

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

    def figure(self, values: Sequence[float]) -> float:
        return quantile_of(values, self._quantile)


@dataclass(frozen=True, slots=True)
class _Ranks:
    """Of the frame's windows: the number of samples, the ranks (from 0) of those that the quantile lies
    between, and where it is almost the upper one."""

    count: Ints
    below: Ints
    above: Ints
    almost: Flags


def _accepting(windows: Windows, conditions: Conditions) -> Ints:
    """How many of each window's samples satisfy its row's condition."""
    cells = windows.lanes.cells
    # For each row the cells that any of its windows holds, row after row.
    begin = windows.low[windows.start[:-1]]
    count = windows.high[windows.start[1:] - 1] - begin
    place = ranges(begin, count)
    row = np.arange(len(count)).repeat(count)
    some: Flags = conditions.of_rows(row, cells.highest[place])
    if not conditions.upward.all():
        some |= conditions.of_rows(row, cells.lowest[place])
        if not conditions.are_one_sided:
            some |= ~conditions.one_sided[row]
    before = np.zeros(len(place) + 1, dtype=np.int64)
    which = some.nonzero()[0]
    if len(which):
        before[which + 1] = _counted(windows, place[which], row[which], conditions)
        before.cumsum(out=before)
    shift = (count.cumsum() - count - begin)[windows.row]
    inside: Ints = before[windows.high + shift] - before[windows.low + shift]
    return inside


def _counted(windows: Windows, cell: Ints, row: Ints, conditions: Conditions) -> Ints:
    """How many samples of each of the cells satisfy the condition of its row. Where they are many, that is
    known of a cell from the first time on, for each of the rows that look at its lane."""
    lanes = windows.lanes
    if lanes.cells.count[cell].sum() < _MANY_SAMPLES * len(cell):
        return _count(lanes, cell, row, conditions)
    rank = windows.rank_of_row[row]
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
