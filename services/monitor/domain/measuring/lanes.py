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
        self.values: Floats = np.empty(0)
        self.begins: Ints = np.zeros(1, dtype=np.int64)
        """Where the samples of each cell begin in ``values``, and the end of the last one's."""
        self.arrived = Arrived.of(_NOTHING)
        self._widest = 0
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
            self.cells, self.values = merged(self.cells, self.values, self.arrived)
            self.latest = max(self.latest, int(self.arrived.second.max()))
        self.begins = np.zeros(len(self.cells) + 1, dtype=np.int64)
        np.cumsum(self.cells.count, out=self.begins[1:])

    def _forget(self, first: int) -> None:
        held = self.cells.second + self._widest > first
        if not held.all():
            self.values = self.values[np.repeat(held, self.cells.count)]
            self.cells = self.cells.take(held)

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


def ranges(start: Ints, count: Ints) -> Ints:
    """start[0], start[0] + 1, … (``count[0]`` of them), start[1], …"""
    upto = np.cumsum(count)
    return np.repeat(start - (upto - count), count) + np.arange(int(upto[-1]) if len(upto) else 0)
