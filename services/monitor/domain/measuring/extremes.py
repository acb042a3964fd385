"""The least and the greatest sample of many windows at once.

Between them is every value that a window can have, so that more than the aggregates `min` and `max` ask.
"""

from __future__ import annotations

import numpy as np

from services.monitor.domain.measuring.held_lanes import HeldLanes
from services.monitor.domain.measuring.windows import Floats, Ints

_FEW = 4
"""So few windows are looked through one by one."""


def extremes_of(lanes: HeldLanes, low: Ints, high: Ints, *, greatest: bool) -> Floats:
    """The extreme of the cells ``low`` to ``high`` (exclusive) of each window, none of which is empty."""
    extreme = np.maximum if greatest else np.minimum
    cells = lanes.cells.highest if greatest else lanes.cells.lowest
    if len(low) <= _FEW:
        found = [extreme.reduce(cells[a:b]) for a, b in zip(low, high, strict=True)]
        return np.array(found, dtype=np.float64)
    levels = lanes.once(("extremes", greatest), lambda: [cells])
    level = np.frexp(high - low)[1] - 1
    _reach(levels, int(level.max()), extreme)
    needed = np.bincount(level).nonzero()[0].tolist()
    if len(needed) == 1:
        return _at_level(levels, needed[0], low, high, extreme)
    extremes: Floats = np.empty(len(low))
    for each in needed:
        at = np.flatnonzero(level == each)
        extremes[at] = _at_level(levels, each, low[at], high[at], extreme)
    return extremes


def _at_level(levels: list[Floats], level: int, low: Ints, high: Ints, extreme: np.ufunc) -> Floats:
    of_level = levels[level]
    found: Floats = extreme(of_level[low], of_level[high - (1 << level)])
    return found


def extremes_of_frame(lanes: HeldLanes, length: int, *, greatest: bool) -> Floats:
    """The extreme of each of the frame's windows, 0 for an empty one; worked out once for all banks."""

    def work() -> Floats:
        frame = lanes.frame(length)
        some = np.flatnonzero(frame.high > frame.low)
        if len(some) == len(frame.at):
            return extremes_of(lanes, frame.low, frame.high, greatest=greatest)
        found = np.zeros(len(frame.at))
        found[some] = extremes_of(lanes, frame.low[some], frame.high[some], greatest=greatest)
        return found

    return lanes.once(("extreme", greatest, length), work)


def _reach(levels: list[Floats], wanted: int, extreme: np.ufunc) -> None:
    """Level k holds the extreme of each 2^k neighbouring cells: any window is two of them."""
    for level in range(len(levels) - 1, wanted):
        known = levels[level]
        levels.append(extreme(known[: -(1 << level)], known[1 << level :]))
