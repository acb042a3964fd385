"""What lanes hold in one block of seconds, as the banks look at it.

All banks look at the same lanes, each with its own window; what several of them want to know is
worked out once. A bank that cares about few lanes only looks at those: where there are many
thousands, nothing happens on most of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from services.monitor.domain.measuring.cells import SPAN, SPAN_BITS, Cells
from services.monitor.domain.measuring.kept_figures import KeptFigures
from services.monitor.domain.measuring.kept_values import KeptValues
from services.monitor.domain.measuring.ranges import ranges
from services.monitor.domain.measuring.windows import Flags, Floats, Ints

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Frame:
    """The seconds of a block at which the windows of one length may change, lane after lane.

    From second ``at`` on the window holds the cells ``low`` to ``high`` (exclusive). Those of
    lane l are at ``start[l]`` to ``start[l + 1]``; the first of them is the block's first second.
    """

    at: Ints
    lane: Ints
    low: Ints
    high: Ints
    start: Ints


@dataclass(frozen=True, slots=True)
class _Ends:
    """What a frame's windows of every length have in common: their last seconds, as keys and by themselves,
    their lanes, and where the cells end that they hold."""

    key: Ints
    at: Ints
    lane: Ints
    high: Ints
    start: Ints


class HeldLanes:
    """The cells of ``count`` lanes in the seconds ``first`` to ``last``, and their samples' values."""

    def __init__(
        self, cells: Cells, values: KeptValues, figures: KeptFigures, *, count: int, first: int, last: int
    ) -> None:
        self.cells = cells
        self.count = count
        self.first, self.last = first, last
        self.before: Ints = np.zeros(len(cells) + 1, dtype=np.int64)
        """How many samples the cells before each one hold, and all of them."""
        np.cumsum(cells.count, out=self.before[1:])
        self._values = values
        self._figures = figures
        self._worked_out: dict[object, object] = {}

    def only(self, lanes: Ints) -> HeldLanes:
        """These lanes alone (in order, none twice), which are numbered anew."""
        edges = self.edges()
        begin, count = edges[lanes], edges[lanes + 1] - edges[lanes]
        cells = self.cells.take(ranges(begin, count))
        cells.key = np.repeat(np.arange(len(lanes)), count) * SPAN + cells.second
        return HeldLanes(
            cells, self._values, self._figures, count=len(lanes), first=self.first, last=self.last
        )

    def edges(self) -> Ints:
        """Where the cells of each lane begin, and where those of the last one end."""
        return self.once("edges", lambda: np.searchsorted(self.cells.lane, np.arange(self.count + 1)))

    def values_of(self, cells: Ints | slice) -> Floats:
        """The values of these cells' samples, one cell after the other."""
        return self._values.runs(self.cells.place[cells], self.cells.count[cells])

    def figures_of(
        self, what: Hashable, cells: Ints, work: Callable[[Ints], tuple[Floats, ...]]
    ) -> tuple[Floats, ...]:
        """Figures of each of the cells, a column each: what ``work`` gives for those (by their places in
        ``cells``) of which they are not known. It is worked out once for as long as the cell is held."""
        return self._figures.of(what, self.cells.number[cells], work)

    def values_between(self, low: Ints, high: Ints) -> tuple[Floats, Ints, Ints]:
        """The values of the cells that some window ``low`` to ``high`` (exclusive) holds, and where
        those of each window begin and end among them."""
        if not len(low):
            return np.empty(0), low, high
        if len(low) == 1:
            values = self.values_of(slice(int(low[0]), int(high[0])))
            return values, low - low, np.array([len(values)])
        cells, begin, end = cells_between(low, high)
        upto = np.concatenate([[0], np.cumsum(self.cells.count[cells])])
        return self.values_of(cells), upto[begin], upto[end]

    def once(self, what: object, work: Callable[[], T]) -> T:
        """What ``work`` gives, worked out once for all banks."""
        if what not in self._worked_out:
            self._worked_out[what] = work()
        found: T = self._worked_out[what]  # type: ignore[assignment]
        return found

    def frame(self, window: int) -> Frame:
        """Where windows of so many seconds change in the block."""
        return self.once(("frame", window), lambda: self._frame(window))

    def _frame(self, window: int) -> Frame:
        event = self._events(window)
        ends = self.once("every second", self._every_second) if event is None else self._ends(event)
        low = self.cells.key.searchsorted(ends.key - window, side="right")
        return Frame(ends.at, ends.lane, low, ends.high, ends.start)

    def _ends(self, key: Ints) -> _Ends:
        lane = key >> SPAN_BITS
        start = np.searchsorted(lane, np.arange(self.count + 1))
        return _Ends(key, key & (SPAN - 1), lane, self.cells.key.searchsorted(key, side="right"), start)

    def _every_second(self) -> _Ends:
        seconds = np.arange(self.first, self.last + 1)
        return self._ends((np.arange(self.count)[:, None] * SPAN + seconds).ravel())

    def _events(self, window: int) -> Ints | None:
        """The keys of lanes and seconds at which a cell comes in or goes out, and of every lane's
        first second; None for every second, where that is fewer than to look for those."""
        first, last = self.first, self.last
        many = self.count * (last - first)
        comes = self.once("comes", lambda: self.cells.key[self.cells.second > first])
        if len(comes) >= many:
            return None
        leaves = self.cells.second + window
        goes = self.cells.key[(leaves > first) & (leaves <= last)] + window
        if len(comes) + len(goes) >= many:
            return None
        events: Ints = np.concatenate([np.arange(self.count) * SPAN + first, comes, goes])
        events.sort()
        is_new: Flags = np.concatenate([[True], events[1:] != events[:-1]])
        return np.asarray(events[is_new])


def cells_between(low: Ints, high: Ints) -> tuple[Ints, Ints, Ints]:
    """The cells that some window ``low`` to ``high`` (exclusive) holds, and where those of each window
    begin and end among them; of one window or more."""
    first, end = int(low.min()), int(high.max())
    opened = np.bincount(low - first, minlength=end - first + 1)
    closed = np.bincount(high - first, minlength=end - first + 1)
    wanted = np.cumsum(opened - closed)[:-1] > 0
    before = np.concatenate([[0], np.cumsum(wanted)])
    return first + np.flatnonzero(wanted), before[low - first], before[high - first]
