"""How the aggregates of windows compare with thresholds, and what they are.

To know a phase, it takes no value: only on which side of a threshold it is. So a *measure* says
that for many windows at once by whatever is cheaper than the value (running sums within their
error, counts above the threshold) and works out exactly only what this leaves open. Values are
worked out one by one, where there is something to tell.

Exact means: as if each window's samples had been taken by themselves, seconds from the oldest to
the newest, so that neither portions nor restarts change a bit of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.measuring.held_lanes import Frame, HeldLanes
from services.monitor.domain.measuring.ranges import ranges
from services.monitor.domain.measuring.series_block import Inside, SeriesBlock, Steps
from services.monitor.domain.measuring.sides import Sides
from services.monitor.domain.measuring.value_past import ValuePast
from services.monitor.domain.measuring.windows import Bank, Conditions, Flags, Floats, Ints

Number = TypeVar("Number", bound=np.generic)
LARGE = 1e300
"""Beyond it differences and sums may overflow: everything is worked out exactly."""
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a bank's rows in a block, row after row: those of row r are at ``start[r]`` to
    ``start[r + 1]``. ``rank_of_row`` is how many rows of the bank before it look at the same lane. ``event``
    is the windows' place in the lanes' frame, None if it is the same."""

    lanes: HeldLanes
    length: int
    frame: Frame
    lane_of_row: Ints
    rank_of_row: Ints
    row: Ints
    start: Ints
    event: Ints | None
    low: Ints
    high: Ints

    def spread(self, of_frame: NDArray[Number]) -> NDArray[Number]:
        """What is known of the frame's windows, for the rows' windows."""
        return of_frame if self.event is None else of_frame[self.event]

    def only(self, rows: Ints) -> Windows:
        """The windows of these rows alone, which are numbered anew."""
        count = self.start[rows + 1] - self.start[rows]
        start = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(count, out=start[1:])
        place = self.places(rows)
        return Windows(
            self.lanes,
            self.length,
            self.frame,
            self.lane_of_row[rows],
            self.rank_of_row[rows],
            np.repeat(np.arange(len(rows)), count),
            start,
            place if self.event is None else self.event[place],
            self.low[place],
            self.high[place],
        )

    def places(self, rows: Ints) -> Ints:
        """Where the windows of these rows are among all."""
        return ranges(self.start[rows], self.start[rows + 1] - self.start[rows])


@dataclass(frozen=True, slots=True)
class Extent:
    """Bounds of each lane's values; NaN for a lane without any."""

    lowest: Floats
    highest: Floats


@dataclass(frozen=True, slots=True)
class Looks:
    """Which lane each row of a bank looks at, in windows of so many seconds; ``rank_of_row`` as in
    ``Windows``."""

    lanes: HeldLanes
    length: int
    lane_of_row: Ints
    rank_of_row: Ints


class Measure(ABC):
    """An aggregate that cells answer, in each of the ways in which its value is asked for.

    *Live*, at each second: over the windows of many lanes at once (``accepted``, ``reach``, ``extent``,
    ``reaching``, ``exact``). *Swept*, for a recorded log: over the windows of one series in a long block
    (``bounds``, ``sides``, ``swept``). *One window*, to tell of (``value``). And, if it sums up, as a
    baseline's ``figures``. All of them make the same number of the same samples, to the last bit: of several
    operations that differ in rounding, each way does the same in the same order.

    What it was in the *past* is worked out from what is kept for that (``past``): the same number but for
    roundings, and the same one in every replay.
    """

    largest: float = LARGE
    """Beyond it, in size, what is worked out may overflow: then every value is worked out exactly, and one
    that is no finite number is no data."""

    @abstractmethod
    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        """Whether each window's value satisfies the condition of its row; anything for an empty one."""

    @abstractmethod
    def reach(self, lanes: HeldLanes) -> Extent:
        """Between what the values of each lane's windows are, whatever their length: soon told."""

    @abstractmethod
    def extent(self, lanes: HeldLanes, length: int) -> Extent:
        """Between what the values of each lane's windows are, in the whole block."""

    def reaching(self, looks: Looks, when: Conditions) -> Flags:
        """Which rows may have a window in the block whose value satisfies their condition."""
        return reaching(self.extent(looks.lanes, looks.length), looks.lane_of_row, when)

    @abstractmethod
    def exact(self, lanes: HeldLanes, low: Ints, high: Ints) -> Floats:
        """The value of each window of the cells ``low`` to ``high`` (exclusive); none of them is empty, but
        there may be none at all."""

    def _settled(self, windows: Windows, conditions: Conditions, accepted: Flags, open_: Flags) -> Flags:
        """``accepted``, in which what was left open is told by the exact values."""
        left = np.flatnonzero(open_ & (windows.high > windows.low))
        if len(left):
            values = self.exact(windows.lanes, windows.low[left], windows.high[left])
            accepted[left] = conditions.of_rows(windows.row[left], values)
        return accepted

    def bounds(self, block: SeriesBlock) -> tuple[float, float] | None:
        """Between what the values of all windows are, where that is soon told."""
        return None

    @abstractmethod
    def sides(self, block: SeriesBlock, steps: Steps, threshold: float) -> Sides:
        """On which side of the threshold each window's value is, or that it is open; anything for an empty
        one."""

    @abstractmethod
    def swept(self, block: SeriesBlock, steps: Steps) -> Floats:
        """The value of each window, none of which is empty."""

    @abstractmethod
    def value(self, inside: Inside) -> float:
        """The value of one window, which is not empty."""

    def figures(self, values: Floats, size: Ints) -> Floats | None:
        """The values of groups of samples, ``size`` of each (one at least), whose order and times do not
        matter; None for an aggregate that does not sum up (see ``Traits``)."""
        return None

    @abstractmethod
    def past(self, window: int, length: int) -> ValuePast:
        """What is kept of the samples of the last ``length`` seconds, so that the aggregate is known over any
        ``window`` of them."""


class OwnBank(ABC):
    """An aggregate that needs the samples one by one, which a bank of its own keeps. It is not swept."""

    @abstractmethod
    def bank(self, window: int) -> Bank:
        """A new bank for windows of so many seconds."""

    def past(self, window: int, length: int) -> ValuePast:
        """As ``Measure.past``. Raises ValueError for an aggregate that is relative (see ``Traits``)."""
        raise ValueError("a relative value is compared with no earlier one")


def reaching(extent: Extent, lane: Ints, when: Conditions) -> Flags:
    """For which rows their lane's values reach what their condition accepts."""
    every = np.arange(len(lane))
    may = when.of_rows(every, extent.highest[lane]) | when.of_rows(every, extent.lowest[lane])
    if not when.are_one_sided:
        may |= ~when.one_sided
    return may


def counts_of(lanes: HeldLanes, length: int) -> Ints:
    """How many samples each of the frame's windows holds."""
    frame = lanes.frame(length)
    return lanes.once(("counts", length), lambda: lanes.before[frame.high] - lanes.before[frame.low])


def extent_of(frame: Frame, least: Floats, greatest: Floats) -> Extent:
    """From bounds of each of the frame's windows; those of empty ones do not count."""
    some, start = frame.high > frame.low, frame.start[:-1]
    if some.all():
        return Extent(np.minimum.reduceat(least, start), np.maximum.reduceat(greatest, start))
    lowest = np.minimum.reduceat(np.where(some, least, np.inf), start)
    highest = np.maximum.reduceat(np.where(some, greatest, -np.inf), start)
    none = lowest == np.inf
    lowest[none] = highest[none] = np.nan
    return Extent(lowest, highest)


def extent_of_samples(lanes: HeldLanes) -> Extent:
    """Of each lane's samples; what lies between two of them may be rounded past them, but not past this."""
    return lanes.once("extent of samples", lambda: _of_samples(lanes))


def _of_samples(lanes: HeldLanes) -> Extent:
    lowest, highest = np.full(lanes.count, np.nan), np.full(lanes.count, np.nan)
    some, begin = some_lanes(lanes)
    if len(some):
        lowest[some] = np.minimum.reduceat(lanes.cells.lowest, begin)
        highest[some] = np.maximum.reduceat(lanes.cells.highest, begin)
    rounded = relative_error(lanes) * np.maximum(np.abs(lowest), np.abs(highest))
    return Extent(lowest - rounded, highest + rounded)


def some_lanes(lanes: HeldLanes) -> tuple[Ints, Ints]:
    """The lanes with cells, and where those of each begin."""
    edges = lanes.edges()
    some = np.flatnonzero(edges[1:] > edges[:-1])
    return some, edges[some]


def relative_error(lanes: HeldLanes) -> float:
    """A sum of n numbers is off by less than n eps times the sum of their sizes: with room to spare."""
    return (int(lanes.before[-1]) + 16) * 16 * EPSILON
