"""How the aggregates of windows compare with thresholds, and what they are.

To know a phase, it takes no value: only on which side of a threshold it is. So a *measure* says
that for many windows at once by whatever is cheaper than the value (running sums within their
error, counts above the threshold) and works out exactly only what this leaves open. Values are
worked out one by one, where there is something to tell.

Exact means: as if each window's samples had been taken by themselves, seconds from the oldest to
the newest, so that neither portions nor restarts change a bit of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.measuring.lanes import Frame, Lanes
from services.monitor.domain.measuring.ranges import ranges
from services.monitor.domain.measuring.windows import Conditions, Flags, Floats, Ints

Number = TypeVar("Number", bound=np.generic)
LARGE = 1e300
"""Beyond it differences and sums may overflow: everything is worked out exactly."""
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a bank's rows in a block, row after row: those of row r are at ``start[r]`` to
    ``start[r + 1]``. ``event`` is their place in the lanes' frame, None if it is the same."""

    lanes: Lanes
    length: int
    frame: Frame
    lane_of_row: Ints
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


class Measure(Protocol):
    """One aggregate. ``all_count``: its threshold says nothing about one sample, so that each of
    them counts as a breaching one."""

    all_count: bool

    def accepted(self, windows: Windows, conditions: Conditions) -> Flags:
        """Whether each window's value satisfies the condition of its row; anything for an empty one."""
        ...

    def extent(self, lanes: Lanes, length: int) -> Extent:
        """Between what the values of each lane's windows are, in the whole block."""
        ...

    def exact(self, lanes: Lanes, low: Ints, high: Ints) -> Floats:
        """The value of each window, none of which is empty."""
        ...


def extent_of(frame: Frame, least: Floats, greatest: Floats) -> Extent:
    """From bounds of each of the frame's windows; those of empty ones do not count."""
    some, start = frame.high > frame.low, frame.start[:-1]
    lowest = np.minimum.reduceat(np.where(some, least, np.inf), start)
    highest = np.maximum.reduceat(np.where(some, greatest, -np.inf), start)
    none = lowest == np.inf
    lowest[none] = highest[none] = np.nan
    return Extent(lowest, highest)
