"""What a cumulative series counted since its point before.

A cumulative point tells of everything since its process began; a p95 of that hardly moves after a
day, and a bad release would stay unseen. And the sum of several counters falls when one of them is
not told of any more, as if all had been reset. So the point before is taken off, series by series.
What is remembered is rebuilt after a restart by reading some of the log again.

When a series begins anew: https://opentelemetry.io/docs/specs/otel/metrics/data-model/#resets-and-gaps
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

MAX_SERIES = 100_000
FIRST_SPAN_S = 600.0
"""A first point is taken as it is where its series is younger than this; an older one tells too
much of the past to say anything about now."""


class Cumulative(Protocol):
    """What a point counted since its series began."""

    def since(self, earlier: Self, /) -> Self | None:
        """What was counted after ``earlier``; None where it was counted anew since then."""
        ...


@dataclass(frozen=True, slots=True)
class Counter:
    """A sum that only rises."""

    value: float

    def since(self, earlier: Counter) -> Counter | None:
        return Counter(self.value - earlier.value) if self.value >= earlier.value else None


Counted = TypeVar("Counted", bound=Cumulative)


class FormerPoints(Generic[Counted]):
    """The last point of each series; of more than ``MAX_SERIES`` the longest unseen are forgotten."""

    def __init__(self, limit: int = MAX_SERIES) -> None:
        self._points: OrderedDict[Hashable, tuple[int, Counted]] = OrderedDict()
        self._limit = limit
        self._since = 0

    def resume(self, time: int) -> None:
        """Points before ``time`` (nanoseconds) were counted by someone else, and are not seen."""
        self._since = time

    def since(self, series: Hashable, start: int, time: int, counted: Counted) -> Counted | str:
        """What came in since the point before; ``start`` and ``time`` are the point's, in nanoseconds
        (``start`` 0 is not known). Or why it is not known:

        ``no_former_point``: the series is old, or began before what is seen here, and this is its first
        point here;
        ``out_of_order``: a point as new as this was seen before.
        """
        # Two processes that name themselves alike still began at two times.
        key = (series, start)
        former = self._points.get(key)
        if former is not None and time <= former[0]:
            return "out_of_order"
        self._points[key] = (time, counted)
        self._points.move_to_end(key)
        if len(self._points) > self._limit:
            self._points.popitem(last=False)
        if former is not None:
            # Counted anew without a new start: all of it is new.
            return counted.since(former[1]) or counted
        # A series that begins at its own first point was counted before, since nobody knows when; one that
        # began before the first record that is remembered may have been.
        young = start > self._since and 0 < time - start <= FIRST_SPAN_S * 1e9
        return counted if young else "no_former_point"
