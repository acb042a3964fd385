"""What banks share whose value depends on every sample of the window."""

from __future__ import annotations

from dataclasses import dataclass

from services.monitor.domain.conditions import Condition
from services.monitor.domain.window_samples import WindowSamples
from services.monitor.domain.windows import Conditions, Deciding, Ints, Matrix, Visible, count_fresh


@dataclass(slots=True)
class SampleFindings(Matrix):
    """``low`` and ``high`` (exclusive): the samples of each row's window at each second, [rows, seconds]."""

    low: Ints
    high: Ints
    offset: Ints

    def standing(self, row: int, column: int) -> int:
        return int(self.high[row, column] - self.low[row, column])

    def deciding(self, row: int, column: int) -> Deciding:
        offsets = self.offset[self.low[row, column] : self.high[row, column]]
        return Deciding(int(offsets.min()), int(offsets.max()))


class SampleBank:
    """Rows over the samples of the last ``window`` seconds, which are kept one by one.

    ``all_count``: the threshold says nothing about one sample, so that each is a breaching one.
    """

    def __init__(self, window: int, *, by_time: bool, all_count: bool) -> None:
        self.window = window
        self.when = Conditions()
        self.clear = Conditions()
        self.rows = 0
        self._held = WindowSamples(window, by_time=by_time)
        self._all_count = all_count

    @property
    def latest(self) -> int:
        return self._held.latest

    def add_row(self, when: Condition, clear: Condition | None) -> int:
        self.when.add(when)
        self.clear.add(clear)
        self.rows += 1
        return self.rows - 1

    def restore(self, samples: Visible, through: int) -> None:
        self._held.keep(samples.only(samples.second <= through), through + 1)

    def _take(self, samples: Visible, first: int, last: int) -> Ints:
        """Fold in what becomes visible; how many breaching samples each second counts first."""
        samples = samples.only(samples.second + self.window > samples.first)
        fresh = count_fresh(self.when, samples, first, last - first + 1, all_count=self._all_count)
        self._held.keep(samples, first)
        return fresh
