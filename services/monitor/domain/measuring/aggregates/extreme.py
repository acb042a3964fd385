"""The least and the greatest sample of a window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.monitor.domain.measuring.held_lanes import HeldLanes
from services.monitor.domain.measuring.measures import (
    Extent,
    Measure,
    Windows,
    extent_of,
    extent_of_samples,
)
from services.monitor.domain.measuring.series_block import Inside, SeriesBlock, Steps
from services.monitor.domain.measuring.sides import Sides, sides_between_ranks
from services.monitor.domain.measuring.windows import Conditions, Flags, Floats, Ints

_FEW = 4
"""So few windows are looked through one by one."""


class Extreme(Measure):
    """The greatest sample, or the least one."""

    def __init__(self, *, greatest: bool) -> None:
        self._extreme = np.maximum if greatest else np.minimum
        self._greatest = greatest

    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        values = self.of_frame(windows.lanes, windows.length)
        return conditions.of_rows(windows.row, windows.spread(values))

    def reach(self, lanes: HeldLanes) -> Extent:
        return extent_of_samples(lanes)

    def extent(self, lanes: HeldLanes, length: int) -> Extent:
        values = self.of_frame(lanes, length)
        return extent_of(lanes.frame(length), values, values)

    def of_frame(self, lanes: HeldLanes, length: int) -> Floats:
        """The value of each of the frame's windows, 0 for an empty one."""

        def work() -> Floats:
            frame = lanes.frame(length)
            some = np.flatnonzero(frame.high > frame.low)
            found = np.zeros(len(frame.at))
            found[some] = self.exact(lanes, frame.low[some], frame.high[some])
            return found

        return lanes.once(("extreme", self._greatest, length), work)

    def exact(self, lanes: HeldLanes, low: Ints, high: Ints) -> Floats:
        if len(low) <= _FEW:
            cells = self._of_cells(lanes)
            found = [self._extreme.reduce(cells[a:b]) for a, b in zip(low, high, strict=True)]
            return np.array(found, dtype=np.float64)
        levels = lanes.once(("extremes", self._greatest), lambda: [self._of_cells(lanes)])
        level = np.frexp(high - low)[1] - 1
        _reach(levels, int(level.max()), self._extreme)
        extremes_of: Floats = np.empty(len(low))
        for each in np.unique(level).tolist():
            at = np.flatnonzero(level == each)
            extremes = levels[each]
            extremes_of[at] = self._extreme(extremes[low[at]], extremes[high[at] - (1 << each)])
        return extremes_of

    def bounds(self, block: SeriesBlock) -> tuple[float, float]:
        return block.extent

    def sides(self, block: SeriesBlock, steps: Steps, threshold: float) -> Sides:
        rank = steps.count - 1 if self._greatest else np.zeros(len(steps.at), dtype=np.int64)
        return sides_between_ranks(block, steps, threshold, rank, rank)

    def swept(self, block: SeriesBlock, steps: Steps) -> Floats:
        value, low, high = block.value, steps.low.tolist(), steps.high.tolist()
        return np.array([self._extreme.reduce(value[a:b]) for a, b in zip(low, high, strict=True)])

    def value(self, inside: Inside) -> float:
        return self._of_list(inside.values)

    def figure(self, values: Sequence[float]) -> float:
        return self._of_list(values)

    def _of_list(self, values: Sequence[float]) -> float:
        return max(values) if self._greatest else min(values)

    def _of_cells(self, lanes: HeldLanes) -> Floats:
        return lanes.cells.highest if self._greatest else lanes.cells.lowest


def _reach(levels: list[Floats], wanted: int, extreme: np.ufunc) -> None:
    """Level k holds the extreme of each 2^k neighbouring cells: any window is two of them."""
    for level in range(len(levels) - 1, wanted):
        known = levels[level]
        levels.append(extreme(known[: -(1 << level)], known[1 << level :]))
