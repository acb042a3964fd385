"""The triggers of one aggregate and window length, evaluated on lanes.

Each row is a trigger on one group; several may look at one lane. What a block finds is kept as
runs: from which second on each verdict holds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.monitor.domain.language.aggregates import Traits
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.measuring.cells import Arrived
from services.monitor.domain.measuring.held_lanes import HeldLanes
from services.monitor.domain.measuring.lanes import Lanes
from services.monitor.domain.measuring.measures import Looks, Measure, Windows, reaching
from services.monitor.domain.measuring.ranges import ranges
from services.monitor.domain.measuring.windows import (
    BETWEEN,
    BREACH,
    CLEAR,
    NO_DATA,
    Conditions,
    Deciding,
    Flags,
    Floats,
    Ints,
    Verdicts,
)

_MANY_ROWS = 500
"""From so many rows on it is worth asking first what the samples alone say."""
_FEW = 4
"""Rows are few where they are less than one in so many."""


class LaneBank:
    """Rows whose value is ``measure`` over the samples of the last ``window`` seconds; ``traits`` are known
    of it."""

    def __init__(self, lanes: Lanes, window: int, measure: Measure, traits: Traits) -> None:
        self.window = window
        self.when = Conditions()
        self.clear = Conditions()
        self.lanes = lanes
        self.measure = measure
        self.traits = traits
        self._lanes_of_rows: list[int] = []
        self._lane_of_row: Ints = np.empty(0, dtype=np.int64)
        self._rank_of_row: Ints = np.empty(0, dtype=np.int64)
        lanes.look_back(window)

    @property
    def latest(self) -> int:
        return self.lanes.latest

    @property
    def rows(self) -> int:
        return len(self._lanes_of_rows)

    def add_row(self, when: Condition, clear: Condition | None, lane: int) -> int:
        self.when.add(when)
        self.clear.add(clear)
        self._lanes_of_rows.append(lane)
        return self.rows - 1

    def lane_of(self, row: int) -> int:
        return self._lanes_of_rows[row]

    def find(self, awake: Collection[int] | None = None) -> LaneFindings:
        """Evaluate the block that the lanes were told of last; good until they are told of another.

        Rows that are not ``awake`` and cannot breach in the block are left out: an inactive trigger
        stays as it is. Without ``awake`` none is.
        """
        held = self.lanes.held
        overflows = bool(held.once("size", lambda: _size(held)) > self.measure.largest)
        rows = None
        if awake is not None and not overflows:
            rows, held = self._worth_a_look(held, awake)
        if rows is not None and not len(rows):
            return self._nothing(held, rows)
        when, clear = self.when, self.clear
        if rows is not None:
            when, clear = when.only(rows), clear.only(rows)
        windows = self._windows(held, rows)
        has_data = windows.high > windows.low
        values = self._values(windows, has_data) if overflows else None
        breach = self._accepted(windows, when, values) & has_data
        verdict: Verdicts = np.where(breach, BREACH, CLEAR)
        if clear.are_given:
            matters = None if awake is None else self._may_fire(windows, breach, rows, awake)
            self._tell_between(windows, verdict, clear, values, matters)
        verdict[~has_data] = NO_DATA
        if values is not None:
            # An overflow is no number, and so no data.
            verdict[~np.isfinite(values)] = NO_DATA
        return LaneFindings(self, windows, verdict, rows)

    def _worth_a_look(self, held: HeldLanes, awake: Collection[int]) -> tuple[Ints | None, HeldLanes]:
        """The rows that are awake or may breach, in order (None: all), and the lanes to look for them at:
        those of the rows alone, where these are few."""
        lane = self._lanes_in_columns()
        if self.rows >= _MANY_ROWS:
            rows = _or_awake(reaching(self.measure.reach(held), lane, self.when), awake)
            if _FEW * len(rows) < self.rows:
                return rows, held.only(np.unique(lane[rows]))
        rows = _or_awake(self.measure.reaching(self._looks(held), self.when), awake)
        return (None if len(rows) == self.rows else rows), held

    def _looks(self, held: HeldLanes) -> Looks:
        return Looks(held, self.window, self._lanes_in_columns(), self._rank_of_row)

    def _nothing(self, held: HeldLanes, rows: Ints) -> LaneFindings:
        """What is found where no row is worth a look."""
        start, frame = np.zeros(1, dtype=np.int64), held.frame(self.window)
        windows = Windows(held, self.window, frame, rows, rows, rows, start, None, rows, rows)
        return LaneFindings(self, windows, np.empty(0, dtype=np.int8), rows)

    def _lanes_in_columns(self) -> Ints:
        if len(self._lane_of_row) != self.rows:
            self._lane_of_row = np.array(self._lanes_of_rows, dtype=np.int64)
            self._rank_of_row = _ranks(self._lane_of_row)
        return self._lane_of_row

    def _windows(self, held: HeldLanes, rows: Ints | None) -> Windows:
        """The windows of all rows, or of these alone, which are numbered anew."""
        lane, rank = self._lanes_in_columns(), self._rank_of_row
        if rows is not None:
            lane, rank = lane[rows], rank[rows]
        if held is not self.lanes.held:
            lane = np.unique(lane, return_inverse=True)[1]
        frame = held.frame(self.window)
        count = frame.start[1:] - frame.start[:-1]
        if len(lane) == len(count) and (lane[1:] > lane[:-1]).all():
            row = frame.lane
            return Windows(
                held, self.window, frame, lane, rank, row, frame.start, None, frame.low, frame.high
            )
        start = np.zeros(len(lane) + 1, dtype=np.int64)
        count[lane].cumsum(out=start[1:])
        event = ranges(frame.start[lane], count[lane])
        row = np.arange(len(lane)).repeat(count[lane])
        low, high = frame.low[event], frame.high[event]
        return Windows(held, self.window, frame, lane, rank, row, start, event, low, high)

    def _may_fire(self, windows: Windows, breach: Flags, rows: Ints | None, awake: Collection[int]) -> Flags:
        """The rows (of those looked at) that are awake or breach: of others it makes no difference
        whether they are clear."""
        may = np.zeros(self.rows, dtype=np.bool_)
        may[list(awake)] = True
        if rows is not None:
            may = may[rows]
        may[windows.row[breach]] = True
        return may

    def _tell_between(
        self,
        windows: Windows,
        verdict: Verdicts,
        clear: Conditions,
        values: Floats | None,
        matters: Flags | None,
    ) -> None:
        """Mark what neither breaches nor is clear, in the rows that tell the two apart."""
        rows = np.flatnonzero(clear.given if matters is None else clear.given & matters)
        if not len(rows):
            return
        place = windows.places(rows)
        of_rows = None if values is None else values[place]
        is_clear = self._accepted(windows.only(rows), clear.only(rows), of_rows)
        verdict[place[~is_clear & (verdict[place] == CLEAR)]] = BETWEEN

    def _accepted(self, windows: Windows, conditions: Conditions, values: Floats | None) -> Flags:
        if values is None:
            return self.measure.accepted(windows, conditions)
        return conditions.of_rows(windows.row, values)

    def _values(self, windows: Windows, has_data: Flags) -> Floats:
        some = np.flatnonzero(has_data)
        values = np.full(len(has_data), np.nan)
        values[some] = self.measure.exact(windows.lanes, windows.low[some], windows.high[some])
        return values


def _or_awake(may: Flags, awake: Collection[int]) -> Ints:
    """The rows that may breach, and those that are awake."""
    may[list(awake)] = True
    return may.nonzero()[0]


def _ranks(lanes: Ints) -> Ints:
    """How often each one's lane comes before it."""
    if (lanes[1:] > lanes[:-1]).all():
        return np.zeros_like(lanes)
    order = lanes.argsort(kind="stable")
    ordered = lanes[order]
    place = np.arange(len(lanes))
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    ranks = np.empty_like(lanes)
    ranks[order] = place - np.maximum.accumulate(np.where(begins, place, 0))
    return ranks


def _size(lanes: HeldLanes) -> float:
    cells = lanes.cells
    return max(float(np.abs(each).max(initial=0.0)) for each in (cells.lowest, cells.highest, cells.total))


@dataclass(slots=True)
class LaneFindings:
    """What a bank found in a block; ``column`` is a second's distance from the block's first."""

    bank: LaneBank
    windows: Windows
    verdict: Verdicts
    rows: Ints | None
    """Those that were looked at, in order; None: all."""
    _fresh: dict[int, Ints] = field(default_factory=dict)
    _known_windows: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def breaching(self) -> list[int]:
        """The rows with a breach."""
        return self._rows_of(np.logical_or, self.verdict == BREACH)

    def never_clear(self) -> set[int]:
        """The rows whose every second has data and is not clear."""
        return set(self._rows_of(np.logical_and, self.verdict >= BETWEEN))

    def _rows_of(self, joined: np.ufunc, flags: Flags) -> list[int]:
        if not len(flags):
            return []
        place = joined.reduceat(flags, self.windows.start[:-1]).nonzero()[0]
        rows: list[int] = (place if self.rows is None else self.rows[place]).tolist()
        return rows

    def verdicts(self, row: int) -> Verdicts:
        """The verdict of each second."""
        return self._each_second(row, self.verdict)

    def values(self, row: int) -> Floats:
        """The value of each second; NaN without data."""
        windows = self.windows
        part = self._part(row)
        low, high = windows.low[part], windows.high[part]
        values = np.full(len(low), np.nan)
        some = np.flatnonzero(high > low)
        values[some] = self.bank.measure.exact(windows.lanes, low[some], high[some])
        found: Floats = np.repeat(values, self._lengths(part))
        return found

    def readings(self) -> tuple[Ints, Floats]:
        """Every value that some second has, each with its row."""
        windows = self.windows
        some = np.flatnonzero(self.verdict != NO_DATA)
        values = self.bank.measure.exact(windows.lanes, windows.low[some], windows.high[some])
        row = windows.row[some]
        return row if self.rows is None else self.rows[row], values

    def fresh(self, row: int) -> Ints:
        """How many breaching samples each second counts for the first time."""
        known = self._fresh.get(row)
        if known is None:
            known = self._fresh[row] = self._count_fresh(row, self.bank.lanes.arrived)
        return known

    def _count_fresh(self, row: int, arrived: Arrived) -> Ints:
        lanes = self.windows.lanes
        lane = self.bank.lane_of(row)
        begin, end = arrived.lane.searchsorted([lane, lane + 1])
        first, value = arrived.first[begin:end], arrived.value[begin:end]
        counts = arrived.second[begin:end] + self.bank.window > first
        if self.bank.traits.is_level:
            counts = counts & self.bank.when.of_rows(np.full(len(value), row), value)
        return np.bincount(first[counts] - lanes.first, minlength=lanes.last - lanes.first + 1)

    def standing(self, row: int, column: int) -> int:
        """How many breaching samples the window holds."""
        if self.bank.traits.is_newest:
            # A breach may begin with the sample that is held already: after a restart with a changed rule,
            # say.
            held = int(self.verdicts(row)[column] == BREACH)
            return max(held, int(self.fresh(row)[column]))
        low, high = self._window(row, column)
        lanes = self.windows.lanes
        if not self.bank.traits.is_level:
            return int(lanes.before[high] - lanes.before[low])
        values = lanes.values_of(slice(low, high))
        return int(self.bank.when.of_rows(np.full(len(values), row), values).sum())

    def deciding(self, row: int, column: int) -> Deciding:
        """Between which offsets the samples are; only for a second with data."""
        low, high = self._window(row, column)
        cells = self.windows.lanes.cells
        if self.bank.traits.is_newest:
            newest = int(cells.newest_offset[high - 1])
            return Deciding(newest, newest)
        return Deciding(int(cells.first_offset[low:high].min()), int(cells.last_offset[low:high].max()))

    def values_at(self, rows: Sequence[int], columns: Sequence[int]) -> list[float]:
        """The value of each row at its column, a second with data."""
        if not rows:
            return []
        low, high = zip(*map(self._window, rows, columns), strict=True)
        found: list[float] = self.bank.measure.exact(
            self.windows.lanes, np.array(low), np.array(high)
        ).tolist()
        return found

    def further(self, column: int) -> tuple[float | None, ...]:
        return ()

    def is_too_late(self, column: int) -> bool:
        return False

    def _window(self, row: int, column: int) -> tuple[int, int]:
        known = self._known_windows.get((row, column))
        if known is None:
            known = self._known_windows[row, column] = self._find_window(row, column)
        return known

    def _find_window(self, row: int, column: int) -> tuple[int, int]:
        part = self._part(row)
        second = self.windows.lanes.first + column
        place = part.start + int(self._at(part).searchsorted(second, side="right")) - 1
        return int(self.windows.low[place]), int(self.windows.high[place])

    def _part(self, row: int) -> slice:
        start = self.windows.start
        place = row if self.rows is None else int(self.rows.searchsorted(row))
        return slice(int(start[place]), int(start[place + 1]))

    def _at(self, part: slice) -> Ints:
        event = self.windows.event
        return self.windows.frame.at[part if event is None else event[part]]

    def _each_second(self, row: int, values: Verdicts) -> Verdicts:
        part = self._part(row)
        found: Verdicts = values[part].repeat(self._lengths(part))
        return found

    def _lengths(self, part: slice) -> Ints:
        """How many seconds each event's window stays as it is."""
        at = self._at(part)
        lengths = np.empty(len(at), dtype=np.int64)
        np.subtract(at[1:], at[:-1], out=lengths[:-1])
        lengths[-1] = self.windows.lanes.last + 1 - at[-1]
        return lengths
