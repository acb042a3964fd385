"""The least and the greatest sample of a window."""

from __future__ import annotations

import numpy as np

from services.monitor.domain.measuring.extremes import extremes_of, extremes_of_frame
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
from services.monitor.domain.measuring.sides import Sides, sides_between_ranks
from services.monitor.domain.measuring.spans import Spans
from services.monitor.domain.measuring.windows import Conditions, Flags, Floats, Ints


class Extreme(Measure):
    """The greatest sample, or the least one."""

    def __init__(self, *, greatest: bool) -> None:
        self._greatest = greatest

    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        values = extremes_of_frame(windows.lanes, windows.length, greatest=self._greatest)
        return conditions.of_rows(windows.row, windows.spread(values))

    def reach(self, lanes: HeldLanes) -> Extent:
        return extent_of_samples(lanes)

    def extent(self, lanes: HeldLanes, length: int) -> Extent:
        values = extremes_of_frame(lanes, length, greatest=self._greatest)
        return extent_of(lanes.frame(length), values, values)

    def exact(self, lanes: HeldLanes, low: Ints, high: Ints) -> Floats:
        return extremes_of(lanes, low, high, greatest=self._greatest)

    def bounds(self, block: SeriesBlock) -> tuple[float, float]:
        return block.extent

    def sides(self, block: SeriesBlock, steps: Steps, threshold: float) -> Sides:
        rank = steps.count - 1 if self._greatest else np.zeros(len(steps.at), dtype=np.int64)
        return sides_between_ranks(block, steps, threshold, rank, rank)

    def swept(self, block: SeriesBlock, steps: Steps) -> Floats:
        value, extreme = block.value, np.max if self._greatest else np.min
        return np.array([extreme(value[a:b]) for a, b in zip(steps.low, steps.high, strict=True)])

    def value(self, inside: Inside) -> float:
        return max(inside.values) if self._greatest else min(inside.values)

    def figures(self, values: Floats, size: Ints) -> Floats:
        extreme = np.maximum if self._greatest else np.minimum
        found: Floats = extreme.reduceat(values, np.cumsum(size) - size)
        return found

    def past(self, window: int, length: int) -> SecondsPast:
        return SecondsPast(_Extremes(np.maximum if self._greatest else np.minimum), length)


class _Extremes(SecondFigures):
    """The greatest, or the least, of each second's samples."""

    def __init__(self, extreme: np.ufunc) -> None:
        self._extreme = extreme

    def of_samples(self, time: Floats, value: Floats) -> Figures:
        return (value,)

    def together(self, figures: Figures, spans: Spans) -> Figures:
        found: Floats = self._extreme.reduceat(spans.each(figures[0]), spans.starts)
        return (found,)

    def values(self, figures: Figures) -> Floats:
        return figures[0]
