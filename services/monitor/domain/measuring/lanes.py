"""What the windows of a partition hold, lane by lane, and where they change within a block.

All banks look at the same lanes, each with its own window: a sample is taken in once, however
many triggers look at it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from services.monitor.domain.measuring.cells import SPAN, SPAN_BITS, Arrived, Cells, merged
from services.monitor.domain.measuring.feeds import Feed
from services.monitor.domain.measuring.kept_values import KeptValues
from services.monitor.domain.measuring.windows import NEVER, Flags, Floats, Ints, Visible

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


class Lanes:
    """The samples and cells that some window may still hold."""

    def __init__(self) -> None:
        self.feed = Feed()
        self.count = 0
        self.latest = NEVER
        """The greatest second of a sample."""
        self.first = self.last = 0
        """The block that ``take`` was told of last."""
        self.cells = Cells.none()
        self.before: Ints = np.zeros(1, dtype=np.int64)
        """How many samples the cells before each one hold, and all of them."""
        self.arrived = Arrived.of(_NOTHING)
        self._widest = 0
        self._values = KeptValues()
        self._worked_out: dict[object, object] = {}

    def add(self) -> int:
        """A new lane's number."""
        self.count += 1
        return self.count - 1

    def look_back(self, window: int) -> None:
        """Some bank looks ``window`` seconds back."""
        self._widest = max(self._widest, window)

    def restore(self, samples: Visible, through: int) -> None:
        """Take in samples that were counted at or before second ``through``."""
        self.take(samples.only(samples.second <= through), through + 1, through + 1)

    def take(self, samples: Visible, first: int, last: int) -> None:
        """Take in what becomes visible in the seconds ``first`` to ``last``, and drop what no window
        from ``first`` on holds."""
        self.first, self.last = first, last
        self._worked_out = {}
        self._forget(first)
        self.arrived = Arrived.of(samples.only(samples.second + self._widest > samples.first))
        if len(self.arrived.key):
            self.cells = merged(self.cells, self._values, self.arrived)
            self.latest = max(self.latest, int(self.arrived.second.max()))
        self.before = np.zeros(len(self.cells) + 1, dtype=np.int64)
        np.cumsum(self.cells.count, out=self.before[1:])

    def _forget(self, first: int) -> None:
        held = self.cells.second + self._widest > first
        if not held.all():
            self.cells = self.cells.take(held)
            if len(self.cells):
                self._values.forget_before(int(self.cells.place.min()))

    def values_of(self, cells: Ints | slice) -> Floats:
        """The values of these cells' samples, one cell after the other."""
        return self._values.runs(self.cells.place[cells], self.cells.count[cells])

    def values_between(self, low: Ints, high: Ints) -> tuple[Floats, Ints, Ints]:
        """The values of the cells that some window ``low`` to ``high`` (exclusive) holds, and where
        those of each window begin and end among them."""
        if not len(low):
            return np.empty(0), low, high
        if len(low) == 1:
            values = self.values_of(slice(int(low[0]), int(high[0])))
            return values, low - low, np.array([len(values)])
        first, end = int(low.min()), int(high.max())
        opened = np.bincount(low - first, minlength=end - first + 1)
        closed = np.bincount(high - first, minlength=end - first + 1)
        wanted = np.cumsum(opened - closed)[:-1] > 0
        upto = np.concatenate([[0], np.cumsum(np.where(wanted, self.cells.count[first:end], 0))])
        return self.values_of(first + np.flatnonzero(wanted)), upto[low - first], upto[high - first]

    def once(self, what: object, work: Callable[[], T]) -> T:
        """What ``work`` gives, worked out once for all banks in a block."""
        if what not in self._worked_out:
            self._worked_out[what] = work()
        found: T = self._worked_out[what]  # type: ignore[assignment]
        return found

    def frame(self, window: int) -> Frame:
        """Where windows of so many seconds change in the block."""
        return self.once(("frame", window), lambda: self._frame(window))

    def _frame(self, window: int) -> Frame:
        event = self._events(window)
        key = self.cells.key
        lane = event >> SPAN_BITS
        low = np.searchsorted(key, event - window, side="right")
        high = np.searchsorted(key, event, side="right")
        start = np.searchsorted(lane, np.arange(self.count + 1))
        return Frame(event & (SPAN - 1), lane, low, high, start)

    def _events(self, window: int) -> Ints:
        """The keys of lanes and seconds at which a cell comes in or goes out, and of every lane's
        first second; or of every second, where that is fewer than to look for those."""
        first, last = self.first, self.last
        key, second = self.cells.key, self.cells.second
        comes = key[second > first]
        leaves = second + window
        goes = key[(leaves > first) & (leaves <= last)] + window
        every = np.arange(self.count) * SPAN
        if len(comes) + len(goes) >= self.count * (last - first):
            grid: Ints = (every[:, None] + np.arange(first, last + 1)).ravel()
            return grid
        events: Ints = np.concatenate([every + first, comes, goes])
        events.sort()
        is_new: Flags = np.concatenate([[True], events[1:] != events[:-1]])
        return np.asarray(events[is_new])


_NONE = np.empty(0, dtype=np.int64)
_NOTHING = Visible(_NONE, _NONE, _NONE, np.empty(0), np.empty(0), _NONE)
