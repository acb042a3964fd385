"""What the windows of a partition hold, lane by lane.

All banks look at the same lanes, each with its own window: a sample is taken in once, however
many triggers look at it.
"""

from __future__ import annotations

import numpy as np

from services.monitor.domain.measuring.cells import Arrived, Cells, merged
from services.monitor.domain.measuring.feeds import Feed
from services.monitor.domain.measuring.held_lanes import HeldLanes
from services.monitor.domain.measuring.kept_figures import KeptFigures
from services.monitor.domain.measuring.kept_values import KeptValues
from services.monitor.domain.measuring.windows import NEVER, Visible


class Lanes:
    """The samples and cells that some window may still hold."""

    def __init__(self) -> None:
        self.feed = Feed()
        self.count = 0
        self.latest = NEVER
        """The greatest second of a sample."""
        self.arrived = Arrived.of(_NOTHING)
        """What came in with the block that ``take`` was told of last."""
        self._cells = Cells.none()
        self._values = KeptValues()
        self._figures = KeptFigures()
        self._widest = 0
        self.held = self._hold(0, 0)

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
        self._forget(first)
        self.arrived = Arrived.of(samples.only(samples.second + self._widest > samples.first))
        if len(self.arrived.key):
            self._cells = merged(self._cells, self._values, self._figures, self.arrived)
            self.latest = max(self.latest, int(self.arrived.second.max()))
        self.held = self._hold(first, last)

    def _hold(self, first: int, last: int) -> HeldLanes:
        return HeldLanes(self._cells, self._values, self._figures, count=self.count, first=first, last=last)

    def _forget(self, first: int) -> None:
        held = self._cells.second + self._widest > first
        if not held.all():
            self._cells = self._cells.take(held)
            if len(self._cells):
                self._values.forget_before(int(self._cells.place.min()))
                self._figures.forget_before(int(self._cells.number.min()))


_NONE = np.empty(0, dtype=np.int64)
_NOTHING = Visible(_NONE, _NONE, _NONE, np.empty(0), np.empty(0), _NONE)
