"""The samples before a release one by one, for values that only whole windows of them have.

The ratio of two counters' rates cannot be told from a draw of samples, as a level can (see
baselines). So all of them are kept, 32 bytes each, for as long as the baseline and one window
before it; and when a release begins to count, the value is worked out at up to sixty moments
before it, a sixtieth of the baseline's window apart, the last one in the second before the release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.language.rules import Check
from services.monitor.domain.measuring.baselines import cell_seconds
from services.monitor.domain.measuring.moments import values_at
from services.monitor.domain.measuring.windows import Floats, Ints, Visible

_PARTS = 64
"""So many portions of a cell are joined to one."""


@dataclass(frozen=True, slots=True)
class _Part:
    row: NDArray[np.int32]
    second: Ints
    time: Floats
    value: Floats
    offset: Ints

    def take(self, which: NDArray[np.bool_] | Ints) -> _Part:
        return _Part(
            self.row[which], self.second[which], self.time[which], self.value[which], self.offset[which]
        )


class KeptPast:
    """The samples of the last ``length`` seconds of many rows, in cells that are dropped as a whole."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._cell = cell_seconds(length)
        self._cells: dict[int, list[_Part]] = {}

    def add(self, samples: Visible) -> None:
        """Take samples in that count from now on."""
        if not len(samples.row):
            return
        part = _Part(
            samples.row.astype(np.int32), samples.second, samples.time, samples.value, samples.offset
        )
        cells = samples.second // self._cell
        for number in np.unique(cells).tolist():
            parts = self._cells.setdefault(number, [])
            parts.append(part.take(cells == number))
            if len(parts) > _PARTS:
                parts[:] = [_joined(parts)]

    def forget(self, next_second: int) -> None:
        """Drop what no release that counts from ``next_second`` or later is compared with."""
        oldest = (next_second - self._length) // self._cell
        for number in [number for number in self._cells if number < oldest]:
            del self._cells[number]

    def of_rows(self, rows: Sequence[int]) -> Visible:
        """The samples of these rows, which are numbered anew, in the order of rows, seconds and offsets."""
        every = _joined([part for parts in self._cells.values() for part in parts])
        ordered = np.argsort(rows)
        known = np.array(rows, dtype=np.int32)[ordered]
        place = np.minimum(np.searchsorted(known, every.row), len(known) - 1)
        some = known[place] == every.row
        found, row = every.take(some), ordered[place[some]]
        order = np.lexsort((found.offset, found.second, row))
        found, row = found.take(order), row[order]
        return Visible(row, found.second, found.second, found.time, found.value, found.offset)


def values_before(
    check: Check,
    window: int,
    pasts: Sequence[tuple[KeptPast, Sequence[int]]],
    releases: Sequence[int],
    first: int,
) -> list[list[float]]:
    """What the check's value was before the seconds of some releases, which count from ``first`` on,
    at the moments of the ``window`` seconds before ``first`` that had one: a list for each release.

    ``pasts`` are those of the check's metrics, each with its row for each release."""
    ends = np.array(releases, dtype=np.int64)[:, None] - 1
    step = cell_seconds(window)
    oldest = first - window
    seconds = ends - np.arange(max(0, int(ends.max()) - oldest) // step + 1) * step
    found = [values_at(check.aggregate, check.window, past.of_rows(rows), seconds) for past, rows in pasts]
    value = found[0]
    if check.to is not None:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value = np.where(found[1] != 0.0, found[0] / found[1], np.nan)
    value[seconds < oldest] = np.nan
    return [of_row[np.isfinite(of_row)].tolist() for of_row in value]


def _joined(parts: Sequence[_Part]) -> _Part:
    if not parts:
        nothing = np.empty(0, dtype=np.int64)
        return _Part(np.empty(0, dtype=np.int32), nothing, np.empty(0), np.empty(0), nothing)
    return _Part(
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.offset for part in parts]),
    )
