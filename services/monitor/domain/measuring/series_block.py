"""The samples of one series over a long block of seconds, for windows that are swept rather than
evaluated at each second.

Within the block the set of samples in a window changes only where one arrives or leaves, so that each
series has few seconds that matter.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from services.monitor.domain.measuring.windows import Flags, Floats, Ints


@dataclass(frozen=True, slots=True)
class Steps:
    """The seconds at which one series' window of one length changes, the first of the block
    included, and the samples ``low`` to ``high`` (exclusive) that it holds from there on."""

    at: Ints
    low: Ints
    high: Ints

    @property
    def count(self) -> Ints:
        return self.high - self.low

    def only(self, which: Flags | Ints) -> Steps:
        return Steps(self.at[which], self.low[which], self.high[which])


@dataclass(frozen=True, slots=True)
class Lists:
    """Samples as lists, ordered by second and, within one, by offset. Where something is told a few
    samples are looked at, one by one: lists are faster for that than arrays."""

    second: list[int]
    time: list[float]
    value: list[float]
    offset: list[int]


@dataclass(slots=True)
class Inside:
    """The samples ``low`` to ``high`` (exclusive) of ``lists``: those of one window."""

    lists: Lists
    low: int
    high: int

    @classmethod
    def all_of(cls, lists: Lists) -> Inside:
        return cls(lists, 0, len(lists.second))

    def __len__(self) -> int:
        return self.high - self.low

    @property
    def values(self) -> list[float]:
        return self.lists.value[self.low : self.high]

    @property
    def seconds(self) -> list[int]:
        return self.lists.second[self.low : self.high]

    @property
    def offsets(self) -> list[int]:
        return self.lists.offset[self.low : self.high]

    @property
    def newest(self) -> int:
        """The place in the lists of the sample with the greatest time, and of equal ones the one
        appended last."""
        second, time = self.lists.second, self.lists.time
        place = self.high - 1
        for at in range(place - 1, self.low - 1, -1):
            if second[at] != second[place]:
                break
            if time[at] > time[place]:
                place = at
        return place


@dataclass(slots=True)
class SeriesBlock:
    """The samples of one series that windows of the block may hold, ordered by second and, within
    one, by offset. ``arrived`` is the second of the block that counts a sample first (before the
    block for one that is held from earlier)."""

    first: int
    last: int
    second: Ints
    arrived: Ints
    time: Floats
    value: Floats
    offset: Ints
    _steps: dict[int, Steps] = field(default_factory=dict)
    _extent: tuple[float, float] | None = None
    _lists: Lists | None = None

    @property
    def extent(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        if self._extent is None:
            self._extent = (float(self.value.min()), float(self.value.max()))
        return self._extent

    def pane_of(self) -> Ints:
        """The pane of each sample: those of one second have one, numbered from 0 on."""
        return np.cumsum(np.concatenate([[False], self.second[1:] != self.second[:-1]]))

    def steps(self, window: int) -> Steps:
        """Where the window changes."""
        known = self._steps.get(window)
        if known is None:
            known = self._steps[window] = self._make_steps(window)
        return known

    def _make_steps(self, window: int) -> Steps:
        leaves = self.second + window
        inside = (leaves > self.first) & (leaves <= self.last)
        arrives = np.maximum(self.second, self.first)
        both = np.concatenate([[self.first], arrives, leaves[inside]])
        both.sort(kind="stable")
        at = both[np.concatenate([[True], both[1:] != both[:-1]])]
        low = np.searchsorted(self.second, at - window, side="right")
        high = np.searchsorted(self.second, at, side="right")
        return Steps(at, low, high)

    def fresh(self, window: int) -> Flags:
        """Which samples the block counts for the first time: those whose window is not over yet."""
        return (self.arrived >= self.first) & (self.second + window > self.arrived)

    def window_at(self, second: int, window: int) -> Inside:
        """The samples that the window holds at ``second``."""
        lists = self._lists
        if lists is None:
            columns = (self.second, self.time, self.value, self.offset)
            lists = self._lists = Lists(*(column.tolist() for column in columns))
        high = bisect_right(lists.second, second)
        return Inside(lists, bisect_right(lists.second, second - window, 0, high), high)
