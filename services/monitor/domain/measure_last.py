"""The newest sample of a window."""

from __future__ import annotations

import numpy as np

from services.monitor.domain.lanes import Lanes
from services.monitor.domain.measures import Windows
from services.monitor.domain.windows import Conditions, Flags, Floats, Ints


class Last:
    """The sample with the greatest time, and of equal ones the one appended last."""

    all_count = False

    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        newest = windows.lanes.cells.newest_value
        if not len(newest):
            return np.zeros(len(windows.row), dtype=np.bool_)
        return conditions.of_rows(windows.row, newest[np.maximum(windows.high - 1, 0)])

    def exact(self, lanes: Lanes, low: Ints, high: Ints) -> Floats:
        return lanes.cells.newest_value[high - 1]
