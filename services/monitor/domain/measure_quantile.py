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

from services.monitor.domain.lanes import Lanes, ranges
from services.monitor.domain.measures import Windows
from services.monitor.domain.quantiles import quantiles_of
from services.monitor.domain.windows import Conditions, Flags, Floats, Ints

_ALMOST = 0.999
"""So near the upper sample that a rounding might carry the value past it."""


class Quantile:
    """The ``quantile`` of the samples, interpolated as quantiles.py says."""

    all_count = False

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile

    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        lanes = windows.lanes
        count = lanes.begins[windows.high] - lanes.begins[windows.low]
        accepting = _Accepting.of(windows, conditions).inside(windows)
        rank = (count - 1) * self._quantile
        below = np.floor(rank).astype(np.int64)
        part = rank - below
        upper = np.where(part == 0.0, below, np.minimum(below + 1, count - 1))
        upward = conditions.upward[windows.row]
        # Of the ordered samples the last ones satisfy an upward condition, the first ones another.
        by_lower: Flags = np.where(upward, below >= count - accepting, below < accepting)
        by_upper = np.where(upward, upper >= count - accepting, upper < accepting)
        open_ = (by_lower != by_upper) | ((part > _ALMOST) & (below != upper))
        if not conditions.are_one_sided:
            open_ |= ~conditions.one_sided[windows.row]
        left = np.flatnonzero(open_ & (count > 0))
        if len(left):
            values = self.exact(lanes, windows.low[left], windows.high[left])
            by_lower[left] = conditions.of_rows(windows.row[left], values)
        return by_lower

    def exact(self, lanes: Lanes, low: Ints, high: Ints) -> Floats:
        return quantiles_of(lanes.values, lanes.begins[low], lanes.begins[high], self._quantile)


@dataclass(frozen=True, slots=True)
class _Accepting:
    """For each row and each cell that its windows may hold, how many of the samples before it satisfy
    the row's condition; ``shift`` leads from a cell to its place for a row."""

    before: Ints
    shift: Ints

    @classmethod
    def of(cls, windows: Windows, conditions: Conditions) -> _Accepting:
        lanes, cells = windows.lanes, windows.lanes.cells
        begin = windows.low[windows.start[:-1]]
        count = windows.high[windows.start[1:] - 1] - begin
        place = ranges(begin, count)
        row = np.repeat(np.arange(len(count)), count)
        lowest = conditions.of_rows(row, cells.lowest[place])
        highest = conditions.of_rows(row, cells.highest[place])
        accepting = np.where(lowest & highest, cells.count[place], 0)
        some = lowest != highest
        if not conditions.are_one_sided:
            some |= ~conditions.one_sided[row]
        mixed = np.flatnonzero(some)
        if len(mixed):
            accepting[mixed] = _counted(lanes, place[mixed], row[mixed], conditions)
        before = np.zeros(len(place) + 1, dtype=np.int64)
        np.cumsum(accepting, out=before[1:])
        return cls(before, np.cumsum(count) - count - begin)

    def inside(self, windows: Windows) -> Ints:
        """How many of each window's samples satisfy its row's condition."""
        shift = self.shift[windows.row]
        inside: Ints = self.before[windows.high + shift] - self.before[windows.low + shift]
        return inside


def _counted(lanes: Lanes, cell: Ints, row: Ints, conditions: Conditions) -> Ints:
    """How many samples of each of the cells satisfy the condition of its row."""
    count = lanes.cells.count[cell]
    values = lanes.values[ranges(lanes.begins[cell], count)]
    accepted = conditions.of_rows(np.repeat(row, count), values)
    begin = np.cumsum(count) - count
    return np.asarray(np.add.reduceat(accepted, begin, dtype=np.int64))
