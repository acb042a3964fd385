"""How many samples the window holds."""

from __future__ import annotations

import numpy as np

from services.monitor.domain.measuring.held_lanes import HeldLanes
from services.monitor.domain.measuring.measures import Extent, Measure, Windows, counts_of, extent_of
from services.monitor.domain.measuring.second_figures import Figures, SecondFigures, SecondsPast
from services.monitor.domain.measuring.series_block import Inside, SeriesBlock, Steps
from services.monitor.domain.measuring.sides import Sides, sides_of
from services.monitor.domain.measuring.spans import Spans
from services.monitor.domain.measuring.windows import Conditions, Flags, Floats, Ints


class Count(Measure):
    """The number of samples, whatever their values."""

    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        counts = windows.spread(counts_of(windows.lanes, windows.length))
        return conditions.of_rows(windows.row, counts.astype(np.float64))

    def reach(self, lanes: HeldLanes) -> Extent:
        edges = lanes.edges()
        greatest = (lanes.before[edges[1:]] - lanes.before[edges[:-1]]).astype(np.float64)
        return Extent(np.ones(lanes.count), greatest)

    def extent(self, lanes: HeldLanes, length: int) -> Extent:
        counts = counts_of(lanes, length).astype(np.float64)
        return extent_of(lanes.frame(length), counts, counts)

    def exact(self, lanes: HeldLanes, low: Ints, high: Ints) -> Floats:
        return (lanes.before[high] - lanes.before[low]).astype(np.float64)

    def sides(self, block: SeriesBlock, steps: Steps, threshold: float) -> Sides:
        return sides_of(self.swept(block, steps), threshold)

    def swept(self, block: SeriesBlock, steps: Steps) -> Floats:
        return steps.count.astype(np.float64)

    def value(self, inside: Inside) -> float:
        return float(len(inside))

    def past(self, window: int, length: int) -> SecondsPast:
        return SecondsPast(_Numbers(), length)


class _Numbers(SecondFigures):
    """The number of each second's samples."""

    columns = (np.uint32,)

    def of_samples(self, time: Floats, value: Floats) -> Figures:
        return (np.ones(len(value)),)

    def together(self, figures: Figures, spans: Spans) -> Figures:
        return (spans.sums(figures[0]),)

    def values(self, figures: Figures) -> Floats:
        return figures[0]
