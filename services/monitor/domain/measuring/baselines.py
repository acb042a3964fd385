"""What a series was like before a release: the samples of the time before, and one figure of them.

The figure is fixed once, when the release begins to count; until then the samples are only kept.
Nothing is worked out at each second. They are kept in 60 cells (of a minute, for an hour), which
are dropped as a whole when no window can reach them any more. Of a series with more than 60
samples in a cell 60 are kept: those with the least hash, which is a fair draw and depends on
neither the order nor the portions in which the samples came, nor on restarts. So a series
with a sample a second has an exact hour, and no series takes much more than 80 kB for one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.language.rules import Baseline
from services.monitor.domain.measuring.registry import measure_of
from services.monitor.domain.measuring.windows import Floats, Ints, Visible

CELLS = 60
"""In so many cells a baseline's window is cut."""
PER_CELL = 60
"""So many samples of a series are kept in each."""
_AT_LEAST = 4_096
Hashes = NDArray[np.uint64]


def figure_of(baseline: Baseline, values: Sequence[float]) -> float | None:
    """The baseline's aggregate; None where nothing can be compared with it: no samples, a 0, or no
    finite number."""
    measure = measure_of(baseline.aggregate)
    if measure is None or not values:
        return None
    try:
        found = measure.figure(values)
    except OverflowError:
        return None
    return found if found is not None and math.isfinite(found) and found != 0.0 else None


def relative_to(baseline: float | Floats, values: Floats) -> Floats:
    """How far the values are above the baseline, relative to it: 0.5 is 50 % more."""
    with np.errstate(over="ignore", invalid="ignore"):
        found: Floats = (values - baseline) / np.abs(baseline)
    return found


@dataclass(slots=True)
class _Cell:
    """Samples of all rows in a cell's seconds: those drawn so far, and those added since."""

    row: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    second: NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, dtype=np.uint16))
    value: Floats = field(default_factory=lambda: np.empty(0))
    hash: Hashes = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    added: list[tuple[Ints, Ints, Floats, Hashes]] = field(default_factory=list)
    count: int = 0

    def add(self, row: Ints, second: Ints, value: Floats, hashes: Hashes) -> None:
        self.added.append((row, second, value, hashes))
        self.count += len(row)
        if self.count > max(_AT_LEAST, len(self.row)):
            self.draw()

    def draw(self) -> None:
        """Keep those with the least hashes of each row; they are in the order of the rows then."""
        if not self.added:
            return
        rows, seconds, values, hashes = zip(*self.added, strict=True)
        self.added, self.count = [], 0
        row = np.concatenate([self.row, *rows])
        second = np.concatenate([self.second, *seconds])
        value = np.concatenate([self.value, *values])
        of_all = np.concatenate([self.hash, *hashes])
        order = np.lexsort((of_all, row))
        row = row[order]
        begins = np.flatnonzero(np.diff(row, prepend=-1))
        rank = np.arange(len(row)) - np.repeat(begins, np.diff(np.append(begins, len(row))))
        kept = order[rank < PER_CELL]
        self.row = row[rank < PER_CELL].astype(np.int32)
        self.second = second[kept].astype(np.uint16)
        self.value, self.hash = value[kept], of_all[kept]

    def of_rows(self, rows: Ints, least: int, most: Ints) -> tuple[Ints, Floats]:
        """The samples of some rows at the seconds (of the cell) from ``least`` to ``most``, one for each
        row: which of the rows each is of, and its value."""
        self.draw()
        low = np.searchsorted(self.row, rows, side="left")
        count = np.searchsorted(self.row, rows, side="right") - low
        which = np.repeat(np.arange(len(rows)), count)
        place = np.arange(len(which)) + np.repeat(low - np.cumsum(count) + count, count)
        second = self.second[place]
        inside = (second >= least) & (second <= most[which])
        return which[inside], self.value[place[inside]]


class Past:
    """The samples of the last ``window`` seconds of many rows, for baselines."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._length = cell_seconds(window)
        self._cells: dict[int, _Cell] = {}

    def add(self, samples: Visible) -> None:
        """Take samples in that count from now on."""
        if not len(samples.row):
            return
        cells, hashes = samples.second // self._length, _hashes(samples)
        for number in np.unique(cells).tolist():
            inside = cells == number
            self._cells.setdefault(number, _Cell()).add(
                samples.row[inside],
                samples.second[inside] - number * self._length,
                samples.value[inside],
                hashes[inside],
            )

    def forget(self, next_second: int) -> None:
        """Drop what no release that counts from ``next_second`` or later is compared with."""
        oldest = (next_second - self._window) // self._length
        for number in [number for number in self._cells if number < oldest]:
            del self._cells[number]

    def before(self, rows: Sequence[int], releases: Sequence[int], first: int) -> list[list[float]]:
        """The values of each row before the second of its release, which counts from second ``first``
        on: those of the ``window`` seconds before ``first`` that the release was not yet in."""
        begin, wanted = first - self._window, np.array(rows, dtype=np.int64)
        ends = np.array(releases, dtype=np.int64) - 1
        which, values = [np.empty(0, dtype=np.int64)], [np.empty(0)]
        for number in range(begin // self._length, (first - 1) // self._length + 1):
            cell = self._cells.get(number)
            if cell is not None:
                zero = number * self._length
                of_cell = cell.of_rows(wanted, begin - zero, ends - zero)
                which.append(of_cell[0])
                values.append(of_cell[1])
        joined = np.concatenate(which)
        order = np.argsort(joined, kind="stable")
        edges = np.searchsorted(joined[order], np.arange(1, len(rows)))
        return [part.tolist() for part in np.split(np.concatenate(values)[order], edges)][: len(rows)]


def cell_seconds(window: int) -> int:
    return -(-window // CELLS)


def look_back_of(window: int) -> int:
    """How far back samples may be needed: the cell that the window begins in is drawn as a whole."""
    return window + cell_seconds(window)


def _hashes(samples: Visible) -> Hashes:
    """Mixes what tells samples apart, by the finaliser of SplitMix64."""
    mixed = samples.offset.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= np.ascontiguousarray(samples.time).view(np.uint64)
    mixed = _mixed(mixed) ^ np.ascontiguousarray(samples.value).view(np.uint64)
    return _mixed(mixed)


def _mixed(bits: Hashes) -> Hashes:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
