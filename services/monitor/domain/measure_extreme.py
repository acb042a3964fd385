"""The least and the greatest sample of a window."""

from __future__ import annotations

import numpy as np

from services.monitor.domain.lanes import Lanes
from services.monitor.domain.measures import Windows
from services.monitor.domain.windows import Conditions, Flags, Floats, Ints

_FEW = 4
"""So few windows are looked through one by one."""


class Extreme:
    """The greatest sample, or the least one."""

    all_count = False

    def __init__(self, *, greatest: bool) -> None:
        self._extreme = np.maximum if greatest else np.minimum
        self._greatest = greatest

    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        lanes = windows.lanes

        def work() -> Floats:
            some = np.flatnonzero(windows.frame.high > windows.frame.low)
            found = np.zeros(len(windows.frame.at))
            found[some] = self.exact(lanes, windows.frame.low[some], windows.frame.high[some])
            return found

        of_frame = lanes.once(("extreme", self._greatest, windows.length), work)
        return conditions.of_rows(windows.row, windows.spread(of_frame))

    def exact(self, lanes: Lanes, low: Ints, high: Ints) -> Floats:
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

    def _of_cells(self, lanes: Lanes) -> Floats:
        return lanes.cells.highest if self._greatest else lanes.cells.lowest


def _reach(levels: list[Floats], wanted: int, extreme: np.ufunc) -> None:
    """Level k holds the extreme of each 2^k neighbouring cells: any window is two of them."""
    for level in range(len(levels) - 1, wanted):
        known = levels[level]
        levels.append(extreme(known[: -(1 << level)], known[1 << level :]))
