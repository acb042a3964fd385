"""Relative changes over a window, from one pane a second.

Every pane of the last window is kept, so a second's value is always added up from its own
panes in their order and never by adding to and taking from a running total, whose rounding
would depend on when the process was last restarted.

The change over a window is that from the mean of its first fifth to the mean of its last
fifth, relative to the former: 0.15 is an increase by 15 %. A fifth holds enough samples that
one odd value does not make a trend. Without a sample in either fifth, or with a first mean of
0, there is no data.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.measuring.measures import OwnBank
from services.monitor.domain.measuring.windows import (
    NEVER,
    NONE,
    Conditions,
    Deciding,
    Findings,
    Floats,
    Ints,
    Matrix,
    Visible,
    count_fresh,
    verdicts_of,
)

PARTS = 5
"""The first and the last of so many parts of the window are compared."""
_NO_OFFSET = 1 << 62
_FEW = 4
"""Up to so many seconds a block, one running sum for each is the faster way."""


class Change(OwnBank):
    """How far the end of a window is above its beginning."""

    def bank(self, window: int) -> ChangeBank:
        return ChangeBank(window)


@dataclass(slots=True)
class _Panes:
    """[rows, seconds] of one block with the window before it."""

    value: Floats
    count: Ints
    first_offset: Ints
    last_offset: Ints

    def part(self, rows: slice, columns: slice) -> _Panes:
        """A view of some of the rows and seconds."""
        return _Panes(
            self.value[rows, columns],
            self.count[rows, columns],
            self.first_offset[rows, columns],
            self.last_offset[rows, columns],
        )

    def copy_from(self, other: _Panes) -> None:
        """Overwrite the first rows and seconds with all of ``other``'s."""
        rows, seconds = other.count.shape
        self.value[:rows, :seconds] = other.value
        self.count[:rows, :seconds] = other.count
        self.first_offset[:rows, :seconds] = other.first_offset
        self.last_offset[:rows, :seconds] = other.last_offset


@dataclass(slots=True)
class ChangeFindings(Matrix):
    panes: _Panes
    window: int

    def standing(self, row: int, column: int) -> int:
        return int(self.panes.count[row, column : column + self.window].sum())

    def deciding(self, row: int, column: int) -> Deciding:
        first = int(self.panes.first_offset[row, column : column + self.window].min())
        last = int(self.panes.last_offset[row, column : column + self.window].max())
        return Deciding(first, last)


@dataclass(slots=True)
class ChangeBank:
    """Rows whose value is the change over the last ``window`` seconds."""

    window: int
    when: Conditions = field(default_factory=Conditions)
    clear: Conditions = field(default_factory=Conditions)
    latest: int = NEVER
    rows: int = 0
    _base: int = NEVER
    _panes: _Panes = field(init=False)

    def __post_init__(self) -> None:
        self._panes = self._empty(4, 2 * self.window + 512)

    @property
    def _capacity(self) -> int:
        return int(self._panes.count.shape[1])

    def _empty(self, rows: int, seconds: int) -> _Panes:
        shape = (rows, seconds)
        return _Panes(
            np.zeros(shape),
            np.zeros(shape, dtype=np.int64),
            np.full(shape, _NO_OFFSET, dtype=np.int64),
            np.full(shape, NONE, dtype=np.int64),
        )

    def add_row(self, when: Condition, clear: Condition | None) -> int:
        self.when.add(when)
        self.clear.add(clear)
        self.rows += 1
        room = len(self._panes.count)
        if self.rows > room:
            larger = self._empty(2 * room, self._capacity)
            larger.copy_from(self._panes)
            self._panes = larger
        return self.rows - 1

    def restore(self, samples: Visible, through: int) -> None:
        # The next second to evaluate needs no older pane, and there is no column for one.
        needed = samples.second > through + 1 - self.window
        counted = samples.only((samples.second <= through) & needed)
        self._make_room(through + 1, through + 1)
        self._add(counted)

    def fold(self, samples: Visible, first: int, last: int) -> Findings:
        samples = samples.only(samples.second + self.window > samples.first)
        self._make_room(first, last)
        self._add(samples)
        # The threshold says nothing about one sample: each one counts.
        fresh = count_fresh(self.rows, samples, first, last - first + 1)
        begin, end = first - self.window + 1 - self._base, last + 1 - self._base
        panes = self._panes.part(slice(self.rows), slice(begin, end))
        value = self._change(panes)
        return ChangeFindings(verdicts_of(self, value, ~np.isnan(value)), value, fresh, panes, self.window)

    def _change(self, panes: _Panes) -> Floats:
        """NaN, hence no data, where either mean is missing or the first one is 0."""
        part = self.window // PARTS
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            mean = rolling_sum(panes.value, part) / rolling_count(panes.count, part)
            before, after = mean[:, : -(self.window - part)], mean[:, self.window - part :]
            return np.where(before == 0.0, np.nan, (after - before) / np.abs(before))

    def _add(self, samples: Visible) -> None:
        if not len(samples.row):
            return
        cell = (samples.row, samples.second - self._base)
        panes = self._panes
        with np.errstate(over="ignore", invalid="ignore"):
            np.add.at(panes.value, cell, samples.value)
        np.add.at(panes.count, cell, 1)
        np.minimum.at(panes.first_offset, cell, samples.offset)
        np.maximum.at(panes.last_offset, cell, samples.offset)
        self.latest = max(self.latest, int(samples.second.max()))

    def _make_room(self, first: int, last: int) -> None:
        """Let the columns reach from the oldest pane that ``first`` needs to ``last``."""
        oldest = first - self.window + 1
        if oldest >= self._base and last - self._base < self._capacity:
            return
        old, base = self._panes, self._base
        seconds = max(self._capacity, 2 * (last - oldest + 1))
        self._panes, self._base = self._empty(len(old.count), seconds), oldest
        if self.latest >= oldest:
            begin = oldest - base
            self._panes.copy_from(old.part(slice(None), slice(begin, begin + seconds)))


def rolling_sum(panes: Floats, window: int) -> Floats:
    """The sum of each ``window`` neighbouring columns, added from the oldest to the newest."""
    seconds = panes.shape[1] - window + 1
    if seconds <= _FEW:
        sums = [np.cumsum(panes[:, at : at + window], axis=1)[:, -1] for at in range(seconds)]
        return np.stack(sums, axis=1)
    total = panes[:, :seconds].copy()
    for at in range(1, window):
        total += panes[:, at : at + seconds]
    return total


def rolling_count(panes: Ints, window: int) -> Ints:
    """The sum of each ``window`` neighbouring columns of whole numbers."""
    upto = np.zeros((panes.shape[0], panes.shape[1] + 1), dtype=np.int64)
    np.cumsum(panes, axis=1, out=upto[:, 1:])
    return upto[:, window:] - upto[:, :-window]
