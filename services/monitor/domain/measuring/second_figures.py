"""A few figures of each second, from which values of the past are worked out: the samples are not kept.

A sum, a number, an extreme, a rate or a deviation over any window is put together from what is known of its
seconds. So a row takes as much memory with a thousand samples a second as with one, and what it
takes has a bound: a set of figures for each second that a release may look at.

What comes of it depends neither on the portions in which samples came nor on restarts. A sample is taken into
its second's figures one by one, in the order of the offsets, which is the same in every replay; late ones
come last in both. At a release the seconds are put together from the oldest to the newest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import DTypeLike, NDArray

from services.monitor.domain.measuring.ranges import places_of
from services.monitor.domain.measuring.spans import Spans
from services.monitor.domain.measuring.value_past import Moments, cell_seconds
from services.monitor.domain.measuring.windows import Floats, Ints, Visible

Figures = tuple[Floats, ...]
"""A column for each figure, an entry for each second, or for each stretch of seconds."""
_AT_LEAST = 4_096
"""Samples are taken into the figures when so many wait, or as many as there are seconds."""
_PARTS = 64
"""So many portions that wait are joined to one."""
_PLACES = 1_000_000
"""Work out no more than about so many pieces of windows at once: some 50 MB."""
_SECOND_BITS = 16


class SecondFigures(ABC):
    """What an aggregate needs to know of each second, and what becomes of it."""

    columns: tuple[DTypeLike, ...] = (np.float64,)
    """How each figure is kept."""

    @abstractmethod
    def of_samples(self, time: Floats, value: Floats) -> Figures:
        """The figures of each sample by itself."""

    def within_second(self, figures: Figures, spans: Spans) -> Figures:
        """Of the samples of one second, in the order of the offsets. The first entry of a span may stand for
        those that were taken in before; every other one is one sample."""
        return self.together(figures, spans)

    @abstractmethod
    def together(self, figures: Figures, spans: Spans) -> Figures:
        """Of stretches of seconds that follow each other, from the oldest to the newest."""

    @abstractmethod
    def values(self, figures: Figures) -> Floats:
        """The aggregate; NaN where the samples are too few."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Samples that are not taken into the figures yet. ``second`` is counted from the cell's first one."""

    row: NDArray[np.int32]
    second: NDArray[np.uint16]
    time: Floats
    value: Floats

    @classmethod
    def joined(cls, parts: Sequence[_Waiting]) -> _Waiting:
        return cls(
            np.concatenate([part.row for part in parts]),
            np.concatenate([part.second for part in parts]),
            np.concatenate([part.time for part in parts]),
            np.concatenate([part.value for part in parts]),
        )


@dataclass(slots=True)
class _Cell:
    """The figures of all rows in a cell's seconds, in the order of rows and seconds."""

    figures: Figures
    row: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    second: NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, dtype=np.uint16))
    waiting: list[_Waiting] = field(default_factory=list)
    count: int = 0

    def add(self, samples: _Waiting, kept: SecondFigures) -> None:
        self.waiting.append(samples)
        self.count += len(samples.row)
        if self.count > max(_AT_LEAST, len(self.row)):
            self.take_in(kept)
        elif len(self.waiting) > _PARTS:
            self.waiting[:] = [_Waiting.joined(self.waiting)]

    def take_in(self, kept: SecondFigures) -> None:
        """Take what waits into the figures of its seconds."""
        if not self.waiting:
            return
        samples = _Waiting.joined(self.waiting)
        self.waiting, self.count = [], 0
        row = np.concatenate([self.row, samples.row])
        second = np.concatenate([self.second, samples.second])
        key = (row.astype(np.int64) << _SECOND_BITS) | second
        order = np.argsort(key, kind="stable")
        spans = Spans.of_keys(key[order])
        added = kept.of_samples(samples.time, samples.value)
        every = tuple(np.concatenate([old, new])[order] for old, new in zip(self.figures, added, strict=True))
        found = kept.within_second(every, spans)
        first = order[spans.begin]
        self.row, self.second = row[first], second[first]
        self.figures = tuple(column.astype(kind) for column, kind in zip(found, kept.columns, strict=True))

    def of_rows(self, rows: Ints) -> tuple[Ints, Ints, Ints]:
        """The entries of some rows, in order: which of the rows each is of, its second, and its place."""
        which, place = places_of(rows, self.row)
        return which, self.second[place].astype(np.int64), place


class SecondsPast:
    """The figures of the last ``length`` seconds of many rows, in cells that are dropped as a whole."""

    is_drawn = False

    def __init__(self, kept: SecondFigures, length: int) -> None:
        self._kept = kept
        self._length = length
        self._cell = cell_seconds(length)
        self._cells: dict[int, _Cell] = {}
        self._ended = -(1 << 62)
        """The first cell that has not ended yet."""

    def __len__(self) -> int:
        """How many seconds of rows have figures."""
        return sum(len(cell.row) for cell in self._cells.values())

    @property
    def waiting(self) -> int:
        """How many samples are not taken into figures yet."""
        return sum(cell.count for cell in self._cells.values())

    def add(self, samples: Visible) -> None:
        """Take samples in that count from now on."""
        if not len(samples.row):
            return
        cells = samples.second // self._cell
        second = (samples.second - cells * self._cell).astype(np.uint16)
        row = samples.row.astype(np.int32)
        for number in np.unique(cells).tolist():
            inside = cells == number
            part = _Waiting(row[inside], second[inside], samples.time[inside], samples.value[inside])
            self._cells.setdefault(number, self._empty()).add(part, self._kept)

    def forget(self, next_second: int) -> None:
        """Drop what no release that counts from ``next_second`` or later is compared with, and keep only
        figures of what else is over."""
        current = next_second // self._cell
        if current <= self._ended:
            return
        oldest = (next_second - self._length) // self._cell
        for number in [number for number in self._cells if number < current]:
            if number < oldest:
                del self._cells[number]
            elif number >= self._ended:
                self._cells[number].take_in(self._kept)
        self._ended = current

    def values_at(self, rows: Ints, moments: Moments) -> Floats:
        """What the value of each row was at its moments, [rows, count]; NaN without data."""
        pieces = _Pieces.of(moments)
        values = np.full((len(rows), moments.count), np.nan)
        many = max(1, _PLACES // pieces.places)
        for at in range(0, len(rows), many):
            part = slice(at, at + many)
            values[part] = self._of_rows(rows[part], moments.newest[part], pieces)
        return values

    def _of_rows(self, rows: Ints, newest: Ints, pieces: _Pieces) -> Floats:
        of_cells = list(self._of_cells(rows, newest, pieces))
        values = np.full((len(rows), len(pieces.low)), np.nan)
        if not of_cells:
            return values
        slot = np.concatenate([slot for slot, _ in of_cells])
        order = np.argsort(slot, kind="stable")
        spans = Spans.of_keys(slot[order])
        columns = zip(*(figures for _, figures in of_cells), strict=True)
        every = tuple(np.concatenate(column)[order] for column in columns)
        figures = self._kept.together(every, spans)
        begin, count = pieces.windows(slot[order][spans.begin], len(rows))
        some = count > 0
        windows = Spans(begin[some], count[some])
        values[some] = self._kept.values(self._kept.together(figures, windows))
        return values

    def _of_cells(self, rows: Ints, newest: Ints, pieces: _Pieces) -> Iterator[tuple[Ints, Figures]]:
        """Cell by cell, from the oldest on, the figures of each piece, and which piece of which row it is."""
        for number in sorted(self._cells):
            cell = self._cells[number]
            cell.take_in(self._kept)
            which, second, place = cell.of_rows(rows)
            slot, is_asked = pieces.slots(which, newest[which] - number * self._cell - second)
            if not len(slot):
                continue
            spans = Spans.of_keys(slot)
            place = place[is_asked]
            figures = tuple(column[place].astype(np.float64, copy=False) for column in cell.figures)
            yield slot[spans.begin], self._kept.together(figures, spans)

    def _empty(self) -> _Cell:
        return _Cell(tuple(np.empty(0, dtype=kind) for kind in self._kept.columns))


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The time before the newest moment, cut wherever a window begins or ends: windows that overlap share
    their pieces, each of which is put together once.

    ``piece_of`` says in which piece each second is, by how long it is before the newest moment; a negative
    one is in no window. The window of moment m has the pieces ``low[m]`` to ``high[m]`` (exclusive) of
    ``count``, numbered from the oldest on.
    """

    piece_of: Ints
    low: Ints
    high: Ints
    count: int

    @classmethod
    def of(cls, moments: Moments) -> _Pieces:
        ends = moments.before_newest
        begins = ends + moments.window
        cuts = np.unique(np.concatenate([ends, begins]))
        count = len(cuts) - 1
        low, high = count - np.searchsorted(cuts, begins), count - np.searchsorted(cuts, ends)
        opened = np.bincount(low, minlength=count + 1) - np.bincount(high, minlength=count + 1)
        number = np.where(np.cumsum(opened)[:-1] > 0, np.arange(count), -1)
        return cls(np.repeat(number[::-1], np.diff(cuts)), low, high, count)

    @property
    def places(self) -> int:
        """How many pieces the windows of a row have together."""
        return int((self.high - self.low).sum())

    def slots(self, which: Ints, before_newest: Ints) -> tuple[Ints, Ints]:
        """The slot (row x count + piece) of those seconds that are in some window, and which these are."""
        inside = np.flatnonzero((before_newest >= 0) & (before_newest < len(self.piece_of)))
        piece = self.piece_of[before_newest[inside]]
        used = piece >= 0
        inside = inside[used]
        return which[inside] * self.count + piece[used], inside

    def windows(self, slots: Ints, rows: int) -> tuple[Ints, Ints]:
        """Where the pieces of each row's windows begin among those that have any data, which are at
        ``slots``, and how many they are, [rows, moments]."""
        before = np.zeros(rows * self.count + 1, dtype=np.int64)
        before[slots + 1] = 1
        before.cumsum(out=before)
        zero = np.arange(rows)[:, None] * self.count
        low = before[zero + self.low]
        return low, before[zero + self.high] - low
