"""Samples of one lane and second, added up: what every window over them is put together from.

A *lane* is what a trigger's group looks at: the samples of one or more series. A *cell* holds
those of one lane and one second. There is none where there is no sample, so that a lane with a
sample a minute costs a sixtieth of one with a sample a second.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from services.monitor.domain.measuring.kept_figures import KeptFigures
from services.monitor.domain.measuring.kept_values import KeptValues
from services.monitor.domain.measuring.windows import Flags, Floats, Ints, Visible

SPAN_BITS = 40
SPAN = 1 << SPAN_BITS
"""More seconds than any two samples are apart, to order by (lane, second) in one key."""
_FEW_LANES = 1 << 16


@dataclass(slots=True)
class Cells:
    """In the order of ``key``, which is lane x SPAN + second.

    ``place`` is where the values of the samples are kept, ``count`` of them in the order of the offsets,
    in which ``total`` is added up. ``newest_time``, ``newest_value`` and
    ``newest_offset`` are of the sample with the greatest time, of equal ones that appended last.
    ``number`` is what its figures are kept by (kept_figures.py).
    """

    key: Ints
    place: Ints
    count: Ints
    total: Floats
    lowest: Floats
    highest: Floats
    first_offset: Ints
    last_offset: Ints
    newest_time: Floats
    newest_value: Floats
    newest_offset: Ints
    number: Ints

    @classmethod
    def none(cls) -> Cells:
        ints, floats = np.empty(0, dtype=np.int64), np.empty(0)
        return cls(ints, ints, ints, floats, floats, floats, ints, ints, floats, floats, ints, ints)

    def __len__(self) -> int:
        return len(self.key)

    @property
    def lane(self) -> Ints:
        return self.key >> SPAN_BITS

    @property
    def second(self) -> Ints:
        return self.key & (SPAN - 1)

    def take(self, which: Flags | Ints) -> Cells:
        return Cells(*(getattr(self, name)[which] for name in _COLUMNS))

    def joined(self, later: Cells) -> Cells:
        return Cells(*(np.concatenate([getattr(self, name), getattr(later, name)]) for name in _COLUMNS))


_COLUMNS = tuple(column.name for column in fields(Cells))


@dataclass(frozen=True, slots=True)
class Arrived:
    """The samples that become visible in a block, in the order of lane, second and offset; the places
    of the cells are among ``value``."""

    lane: Ints
    second: Ints
    first: Ints
    value: Floats
    key: Ints
    cells: Cells

    @classmethod
    def of(cls, samples: Visible) -> Arrived:
        key = samples.row * SPAN + samples.second
        if (key[1:] < key[:-1]).any():
            order = _order(samples.row, key)
            samples, key = samples.only(order), key[order]
        cells = _cells_of(samples, key)
        return cls(samples.row, samples.second, samples.first, samples.value, key, cells)


def _order(lane: Ints, key: Ints) -> Ints:
    """As a stable sort by ``key``. Samples mostly come in the order of their seconds: then a sort by
    lane does, and short whole numbers are sorted many times faster."""
    if int(lane.max()) < _FEW_LANES:
        order = np.argsort(lane.astype(np.uint16), kind="stable")
        ordered = key[order]
        if (ordered[1:] >= ordered[:-1]).all():
            return order
    return np.argsort(key, kind="stable")


def _cells_of(samples: Visible, key: Ints) -> Cells:
    if not len(key):
        return Cells.none()
    begin = np.concatenate([[0], np.flatnonzero(key[1:] != key[:-1]) + 1])
    end = np.concatenate([begin[1:], [len(key)]])
    newest = _newest(samples.time, begin, end)
    return Cells(
        key[begin],
        begin,
        end - begin,
        totals_of(samples.value, end - begin),
        np.minimum.reduceat(samples.value, begin),
        np.maximum.reduceat(samples.value, begin),
        samples.offset[begin],
        samples.offset[end - 1],
        samples.time[newest],
        samples.value[newest],
        samples.offset[newest],
        np.zeros_like(begin),
    )


def totals_of(values: Floats, count: Ints) -> Floats:
    """The sum of each run of ``count`` values, added one by one from the first to the last."""
    with np.errstate(over="ignore", invalid="ignore"):
        run = np.repeat(np.arange(len(count)), count)
        return np.bincount(run, weights=values, minlength=len(count)).astype(np.float64, copy=False)


def _newest(time: Floats, begin: Ints, end: Ints) -> Ints:
    falls = np.flatnonzero(time[1:] < time[:-1]) + 1
    if len(falls) and not np.isin(falls, begin).all():
        run = np.repeat(np.arange(len(begin)), end - begin)
        return np.lexsort((time, run))[end - 1]
    return end - 1


def merged(held: Cells, values: KeptValues, figures: KeptFigures, arrived: Arrived) -> Cells:
    """The cells with those that arrived, whose values are kept from now on."""
    later = arrived.cells
    if not len(later):
        return held
    later.place = later.place + values.add(arrived.value)
    later.number = figures.number(len(later))
    if not len(held):
        return later
    both = held.joined(later)
    both = both.take(np.argsort(both.key, kind="stable"))
    again = np.flatnonzero(both.key[1:] == both.key[:-1]) + 1
    return _united(both, again, values, figures) if len(again) else both


def _united(cells: Cells, again: Ints, values: KeptValues, figures: KeptFigures) -> Cells:
    """One cell for each key; those at ``again`` have the key of the one before (late samples)."""
    newer = again[cells.newest_time[again] >= cells.newest_time[again - 1]]
    for column in (cells.newest_time, cells.newest_value, cells.newest_offset):
        column[newer - 1] = column[newer]
    pairs = np.stack([again - 1, again], axis=1).ravel()
    united = values.runs(cells.place[pairs], cells.count[pairs])
    cells.count[again - 1] += cells.count[again]
    count = cells.count[again - 1]
    cells.place[again - 1] = values.add(united) + np.cumsum(count) - count
    cells.total[again - 1] = totals_of(united, count)
    cells.lowest[again - 1] = np.minimum(cells.lowest[again - 1], cells.lowest[again])
    cells.highest[again - 1] = np.maximum(cells.highest[again - 1], cells.highest[again])
    cells.first_offset[again - 1] = np.minimum(cells.first_offset[again - 1], cells.first_offset[again])
    cells.number[again - 1] = figures.number(len(again))
    cells.last_offset[again - 1] = np.maximum(cells.last_offset[again - 1], cells.last_offset[again])
    first = np.ones(len(cells), dtype=np.bool_)
    first[again] = False
    return cells.take(first)
