"""What a cumulative histogram counted since its point before.

A cumulative point tells of everything since its process began; a p95 of that hardly moves after a
day, and a bad release would stay unseen. So the buckets of the point before are taken off. What is
remembered is rebuilt after a restart by reading some of the log again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from services.monitor.domain.ingest.histograms import Buckets, since

MAX_SERIES = 100_000
FIRST_SPAN_S = 600.0
"""A first point is taken as it is where its series is younger than this; an older one tells too
much of the past to say anything about now."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a series. ``start`` and ``time`` are nanoseconds; ``start`` 0 is not known."""

    start: int
    time: int
    buckets: Buckets


class FormerPoints:
    """The last point of each series; of more than ``MAX_SERIES`` the longest unseen are forgotten."""

    def __init__(self, limit: int = MAX_SERIES) -> None:
        self._points: OrderedDict[Hashable, Point] = OrderedDict()
        self._limit = limit

    def since(self, series: Hashable, point: Point) -> Buckets | str:
        """The buckets since the point before, or why they are not known:

        ``no_former_point``: the series is old, and this is its first point here;
        ``out_of_order``: a point as new as this was seen before.
        """
        # Two processes that name themselves alike still began at two times.
        key = (series, point.start)
        former = self._points.get(key)
        if former is not None and point.time <= former.time:
            return "out_of_order"
        self._points[key] = point
        self._points.move_to_end(key)
        if len(self._points) > self._limit:
            self._points.popitem(last=False)
        if former is not None:
            # Counted anew without a new start: all of it is new.
            return since(point.buckets, former.buckets) or point.buckets
        young = point.start > 0 and point.time - point.start <= FIRST_SPAN_S * 1e9
        return point.buckets if young else "no_former_point"
