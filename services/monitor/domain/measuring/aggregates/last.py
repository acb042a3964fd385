"""The newest sample of a window."""

from __future__ import annotations

import numpy as np

from services.monitor.domain.measuring.held_lanes import HeldLanes
from services.monitor.domain.measuring.measures import (
    Extent,
    Measure,
    Windows,
    extent_of,
    extent_of_samples,
)
from services.monitor.domain.measuring.second_figures import Figures, SecondFigures, SecondsPast
from services.monitor.domain.measuring.series_block import Inside, SeriesBlock, Steps
from services.monitor.domain.measuring.sides import Sides, sides_of
from services.monitor.domain.measuring.spans import Spans
from services.monitor.domain.measuring.windows import Conditions, Flags, Floats, Ints


class Last(Measure):
    """The sample with the greatest time, and of equal ones the one appended last."""

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

    def bounds(self, block: SeriesBlock) -> tuple[float, float]:
        return block.extent

    def sides(self, block: SeriesBlock, steps: Steps, threshold: float) -> Sides:
        return sides_of(self.swept(block, steps), threshold)

    def swept(self, block: SeriesBlock, steps: Steps) -> Floats:
        newest = np.maximum(steps.high - 1, 0)
        if (block.second[1:] == block.second[:-1]).any():
            order = np.argsort(block.time, kind="stable")
            place = np.searchsorted(block.second[order], steps.at, side="right")
            newest = order[np.maximum(place - 1, 0)]
        return block.value[newest]

    def value(self, inside: Inside) -> float:
        return inside.lists.value[inside.newest]

    def past(self, window: int, length: int) -> SecondsPast:
        return SecondsPast(_Newest(), length)


class _Newest(SecondFigures):
    """The time and the value of each second's newest sample."""

    columns = (np.float64, np.float64)

    def of_samples(self, time: Floats, value: Floats) -> Figures:
        return time, value

    def within_second(self, figures: Figures, spans: Spans) -> Figures:
        time, value = figures
        newest = np.lexsort((time, spans.of_each))[spans.end]
        return time[newest], value[newest]

    def together(self, figures: Figures, spans: Spans) -> Figures:
        time, value = figures
        return time[spans.end], value[spans.end]

    def values(self, figures: Figures) -> Floats:
        return figures[1]
