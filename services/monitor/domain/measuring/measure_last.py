"""The newest sample of a window."""

from __future__ import annotations

import numpy as np

from services.monitor.domain.measuring.held_lanes import HeldLanes
from services.monitor.domain.measuring.measures import Extent, Windows, extent_of, extent_of_samples
from services.monitor.domain.measuring.windows import Conditions, Flags, Floats, Ints


class Last:
    """The sample with the greatest time, and of equal ones the one appended last."""

    all_count = False

    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        newest = windows.lanes.cells.newest_value
        if not len(newest):
            return np.zeros(len(windows.row), dtype=np.bool_)
        return conditions.of_rows(windows.row, newest[np.maximum(windows.high - 1, 0)])

    def reach(self, lanes: HeldLanes) -> Extent:
        return extent_of_samples(lanes)

    def extent(self, lanes: HeldLanes, length: int) -> Extent:
        frame, newest = lanes.frame(length), lanes.cells.newest_value
        values = newest[np.maximum(frame.high - 1, 0)] if len(newest) else np.zeros(len(frame.at))
        return extent_of(frame, values, values)

    def exact(self, lanes: HeldLanes, low: Ints, high: Ints) -> Floats:
        return lanes.cells.newest_value[high - 1]
