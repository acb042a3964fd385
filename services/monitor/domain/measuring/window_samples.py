"""The samples of many rows' windows, kept one by one, for what no running figure can answer.

A counter's rate depends on every sample of the window. They are kept sorted by row and second,
so that each window is a slice of one array.
"""

from __future__ import annotations

import numpy as np

from services.monitor.domain.measuring.windows import NEVER, Flags, Ints, Visible

_SPAN = 1 << 40
"""More seconds than any two samples are apart, to order by (row, second) in one key."""


class WindowSamples:
    """The samples that a window of ``window`` seconds may still hold, by row and second.

    Within a second they are in the order of their times, and within one time in that of their offsets.
    """

    def __init__(self, window: int) -> None:
        self.latest = NEVER
        self.row = np.empty(0, dtype=np.int64)
        self.second = np.empty(0, dtype=np.int64)
        self.time = np.empty(0)
        self.value = np.empty(0)
        self.offset = np.empty(0, dtype=np.int64)
        self._window = window

    def keep(self, samples: Visible, first: int) -> None:
        """Take the samples in, and drop those that no window from ``first`` on holds."""
        held: Flags = self.second + self._window > first
        if not held.all():
            self._take(np.flatnonzero(held))
        if not len(samples.row):
            return
        self.row = np.concatenate([self.row, samples.row])
        self.second = np.concatenate([self.second, samples.second])
        self.value = np.concatenate([self.value, samples.value])
        self.offset = np.concatenate([self.offset, samples.offset])
        self.time = np.concatenate([self.time, samples.time])
        self._take(np.lexsort((self.offset, self.time, self.row)))
        self.latest = max(self.latest, int(samples.second.max()))

    def _take(self, which: Ints) -> None:
        self.row, self.second = self.row[which], self.second[which]
        self.value, self.offset = self.value[which], self.offset[which]
        self.time = self.time[which]

    def windows(self, rows: int, first: int, last: int) -> tuple[Ints, Ints]:
        """The slice [low, high) of each row's window at each second from ``first`` to ``last``, as
        two arrays of [rows, seconds]."""
        key = self.row * _SPAN + self.second
        ends = np.arange(rows)[:, None] * _SPAN + np.arange(first, last + 1)
        low = np.searchsorted(key, ends - self._window + 1, side="left")
        return low, np.searchsorted(key, ends, side="right")
