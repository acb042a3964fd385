"""What quantiles were before a release, from a draw of the samples.

A quantile of a window is known of no figure of its seconds. So samples are kept: in cells of a sixtieth of
the time that is kept, or of the window where that is shorter, the 240 with the least hash of each row. Up
to that number values are exact. Beyond it they are those of a fair draw: of cells with different shares
of their samples left the least share is taken in a window, by which every sample counts alike.
(Bottom-k samples with a common threshold: E. Cohen and H. Kaplan, "Summarizing data using bottom-k
sketches", 2007.)
"""

from __future__ import annotations

import numpy as np

from services.monitor.domain.measuring.drawn_samples import Drawn, DrawnOfLast, Hashes
from services.monitor.domain.measuring.quantiles import quantiles_of
from services.monitor.domain.measuring.ranges import ranges
from services.monitor.domain.measuring.value_past import Moments, cell_seconds
from services.monitor.domain.measuring.windows import Floats, Ints

PER_CELL = 240
"""So many samples of a row count in a cell. Of 60 the greatest would have to do for a p99."""
_NO_LIMIT = np.uint64(0xFFFFFFFFFFFFFFFF)
_SPAN = 1 << 40
"""More seconds than any two samples are apart, to order by (row, second) in one key."""
_PLACES = 1_000_000
"""Look at no more than about so many samples at once: some 50 MB."""


class DrawnPast(DrawnOfLast):
    """Samples of the last ``length`` seconds of many rows, for the ``quantile`` of windows of ``window``
    seconds."""

    def __init__(self, quantile: float, window: int, length: int) -> None:
        self._quantile = quantile
        # One more is kept: its hash is what those that were left out are not below.
        super().__init__(length, drawn_cell(window, length), PER_CELL, and_more=1)

    def __len__(self) -> int:
        """How many samples are kept."""
        return len(self._samples)

    def values_at(self, rows: Ints, moments: Moments) -> Floats:
        """What the quantile of each row was at its moments, [rows, count]; NaN without data."""
        many = max(1, len(rows) * _PLACES // max(1, len(self)))
        found = np.empty((len(rows), moments.count))
        for at in range(0, len(rows), many):
            part = slice(at, at + many)
            found[part] = self._of_rows(rows[part], moments.of_rows(part))
        return found

    def _of_rows(self, rows: Ints, moments: Moments) -> Floats:
        seconds = moments.seconds
        oldest = int(seconds.min()) - moments.window + 1
        limits = np.full((len(rows), self._cells_between(oldest, int(seconds.max()))), _NO_LIMIT)
        parts = []
        for number, drawn in self._samples.of_rows(rows, oldest, int(seconds.max())):
            limits[:, number - oldest // self._samples.cell] = _limits(drawn, len(rows))
            parts.append(drawn)
        if not parts:
            return np.full(seconds.shape, np.nan)
        key = np.concatenate([part.which * _SPAN + part.second for part in parts])
        order = np.argsort(key, kind="stable")
        key = key[order]
        value = np.concatenate([part.value for part in parts])[order]
        hashes = np.concatenate([part.hash for part in parts])[order]
        ends = np.arange(len(rows))[:, None] * _SPAN + seconds
        low = np.searchsorted(key, (ends - moments.window).ravel(), side="right")
        high = np.searchsorted(key, ends.ravel(), side="right")
        if (limits < _NO_LIMIT).any():
            limit = self._least(limits, seconds, moments.window, oldest).ravel()
            value, low, high = _below(value, hashes, low, high, limit)
        return quantiles_of(value, low, high, self._quantile).reshape(seconds.shape)

    def _cells_between(self, oldest: int, newest: int) -> int:
        return newest // self._samples.cell - oldest // self._samples.cell + 1

    def _least(self, limits: Hashes, seconds: Ints, window: int, oldest: int) -> Hashes:
        """The least limit of the cells that each window reaches into."""
        zero = oldest // self._samples.cell
        begin = (seconds - window + 1) // self._samples.cell - zero
        end = seconds // self._samples.cell - zero
        least = np.full(seconds.shape, _NO_LIMIT)
        each = np.arange(len(limits))[:, None]
        for after in range(int((end - begin).max()) + 1):
            cell = begin + after
            here = np.where(cell <= end, limits[each, np.minimum(cell, end)], _NO_LIMIT)
            least = np.minimum(least, here)
        return least


def drawn_cell(window: int, length: int) -> int:
    """How long a cell is, of which so many samples count: a window reaches into one at least."""
    return min(cell_seconds(length), window)


def _limits(drawn: Drawn, rows: int) -> Hashes:
    """Below which hash every sample of the cell was kept, of each row."""
    count = np.bincount(drawn.which, minlength=rows)
    full = np.flatnonzero(count > PER_CELL)
    limits = np.full(rows, _NO_LIMIT)
    limits[full] = drawn.hash[np.cumsum(count)[full] - 1]
    return limits


def _below(value: Floats, hashes: Hashes, low: Ints, high: Ints, limit: Hashes) -> tuple[Floats, Ints, Ints]:
    """The values of each window whose hashes are below its limit; and where those of each are then."""
    count = high - low
    parts, sizes = [], []
    for windows in np.split(np.arange(len(low)), np.flatnonzero(np.diff(np.cumsum(count) // _PLACES)) + 1):
        place = ranges(low[windows], count[windows])
        window = np.repeat(windows, count[windows])
        kept = (hashes[place] < limit[window]) | (limit[window] == _NO_LIMIT)
        parts.append(value[place[kept]])
        sizes.append(np.bincount(window[kept] - windows[0], minlength=len(windows)))
    size = np.concatenate(sizes)
    end = np.cumsum(size)
    return np.concatenate(parts), end - size, end
