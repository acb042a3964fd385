"""A fair draw of the samples of many rows, of a few of them in each cell of time.

Kept are those with the least hash, which depends on neither the order nor the portions in which
the samples came, nor on restarts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.measuring.ranges import places_of
from services.monitor.domain.measuring.windows import Floats, Ints, Visible

Hashes = NDArray[np.uint64]
_AT_LEAST = 4_096
"""It is drawn when so many samples were added, or as many as were kept."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Samples of a cell, in the order of ``which`` of the rows that were asked for each is of, and within
    a row of the hashes; ``second`` is its own."""

    which: Ints
    second: Ints
    value: Floats
    hash: Hashes


@dataclass(slots=True)
class _Cell:
    """Samples of all rows in a cell's seconds: those drawn so far, and those added since."""

    row: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    second: NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, dtype=np.uint16))
    value: Floats = field(default_factory=lambda: np.empty(0))
    hash: Hashes = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    added: list[tuple[Ints, Ints, Floats, Hashes]] = field(default_factory=list)
    count: int = 0
    most: int = 0
    """So many samples of one row were there, before any were left out."""

    def add(self, row: Ints, second: Ints, value: Floats, hashes: Hashes, at_most: int) -> None:
        self.added.append((row, second, value, hashes))
        self.count += len(row)
        if self.count > max(_AT_LEAST, len(self.row)):
            self.draw(at_most)

    def draw(self, at_most: int) -> None:
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
        self.most = max(self.most, int(rank.max()) + 1)
        kept = order[rank < at_most]
        self.row = row[rank < at_most].astype(np.int32)
        self.second = second[kept].astype(np.uint16)
        self.value, self.hash = value[kept], of_all[kept]

    def of_rows(self, rows: Ints) -> Drawn:
        which, place = places_of(rows, self.row)
        return Drawn(which, self.second[place].astype(np.int64), self.value[place], self.hash[place])


class DrawnSamples:
    """At most ``per_cell`` samples of each row in each cell of ``cell`` seconds."""

    def __init__(self, cell: int, per_cell: int) -> None:
        self.cell = cell
        self._per_cell = per_cell
        self._cells: dict[int, _Cell] = {}
        self._ended = -(1 << 62)
        """The first cell that has not ended yet."""
        self.most = 0
        """So many samples a row has had in one of the cells that have ended; or one more than are kept."""

    def __len__(self) -> int:
        """How many samples are kept."""
        return sum(len(cell.row) + cell.count for cell in self._cells.values())

    def add(self, samples: Visible) -> None:
        if not len(samples.row):
            return
        cells, hashes = samples.second // self.cell, _hashes(samples)
        for number in np.unique(cells).tolist():
            inside = cells == number
            self._cells.setdefault(number, _Cell()).add(
                samples.row[inside],
                samples.second[inside] - number * self.cell,
                samples.value[inside],
                hashes[inside],
                self._per_cell,
            )

    def forget(self, oldest: int, next_second: int) -> None:
        """Drop the cells that end before second ``oldest``, and keep no more than is to be kept of those
        that end before ``next_second``."""
        current = next_second // self.cell
        for number in [number for number in self._cells if number < oldest // self.cell]:
            del self._cells[number]
        if current > self._ended:
            for number, cell in self._cells.items():
                if self._ended <= number < current:
                    cell.draw(self._per_cell)
            self._ended = current
            self.most = max((cell.most for cell in self._cells.values()), default=0)

    def of_rows(self, rows: Ints, oldest: int, newest: int) -> Iterator[tuple[int, Drawn]]:
        """The samples of some rows, cell by cell from the one with second ``oldest`` to the one with
        ``newest``, each with its number."""
        for number in range(oldest // self.cell, newest // self.cell + 1):
            cell = self._cells.get(number)
            if cell is not None:
                cell.draw(self._per_cell)
                found = cell.of_rows(rows)
                yield number, Drawn(found.which, found.second + number * self.cell, found.value, found.hash)


class DrawnOfLast:
    """A draw of the samples of the last ``length`` seconds. Of a row and cell ``at_most`` count, though
    ``and_more`` are kept beside them."""

    def __init__(self, length: int, cell: int, at_most: int, *, and_more: int = 0) -> None:
        self._length = length
        self._at_most = at_most
        self._samples = DrawnSamples(cell, at_most + and_more)

    @property
    def is_drawn(self) -> bool:
        """Whether samples that may be asked for were left out."""
        return self._samples.most > self._at_most

    def add(self, samples: Visible) -> None:
        """Take samples in that count from now on."""
        self._samples.add(samples)

    def forget(self, next_second: int) -> None:
        """Drop what no release that counts from ``next_second`` or later is compared with."""
        self._samples.forget(next_second - self._length, next_second)


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
