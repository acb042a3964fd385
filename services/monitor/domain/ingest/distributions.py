"""One histogram point as a distribution: its count, its sum, and the buckets of what came in."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint, HistogramDataPoint

from services.monitor.domain.ingest.cumulative import FormerPoints
from services.monitor.domain.ingest.histograms import (
    Buckets,
    ExplicitBuckets,
    ExponentialBuckets,
    MalformedHistogram,
    Side,
    since,
)
from services.monitor.domain.ingest.quantiles import Bucket, quantiles

HistogramPoint = HistogramDataPoint | ExponentialHistogramDataPoint
NO_BUCKETS = "no_buckets"
"""Values were counted, and it is not known where they lie."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a point holds: how many values, their sum (None: not given), and where they lie."""

    count: int
    sum: float | None
    buckets: Buckets

    def since(self, earlier: Counts) -> Counts | None:
        """What came in after ``earlier``; None where it was counted anew since then."""
        buckets = since(self.buckets, earlier.buckets)
        if buckets is None or self.count < earlier.count:
            return None
        known = self.sum is not None and earlier.sum is not None
        new_sum = (self.sum or 0.0) - (earlier.sum or 0.0) if known else None
        return Counts(self.count - earlier.count, new_sum, buckets)


@dataclass(frozen=True, slots=True)
class Distribution:
    """``buckets`` hold what came in since the point before; ``problem`` names why they are not known.
    ``count`` and ``sum`` are as the point has them, or of what came in; ``sum`` None was not given."""

    count: int
    sum: float | None
    buckets: tuple[Bucket, ...] = ()
    problem: str | None = None

    def quantiles(self, wanted: Sequence[float]) -> tuple[float, ...] | None:
        """None where nothing came in, or it is not known where."""
        return quantiles(self.buckets, wanted)


def together(parts: Sequence[Distribution]) -> Distribution:
    """All of them as one; its sum is known only if each is."""
    sums = [part.sum for part in parts if part.sum is not None]
    total = sum(sums) if len(sums) == len(parts) else None
    buckets = tuple(chain.from_iterable(part.buckets for part in parts))
    return Distribution(sum(part.count for part in parts), total, buckets)


class Distributions:
    """Reads points of both kinds."""

    def __init__(self, former: FormerPoints[Counts]) -> None:
        self._former = former

    def read(
        self,
        point: HistogramPoint,
        buckets: Buckets,
        series: Hashable,
        *,
        cumulative: bool,
        increases: bool = False,
    ) -> Distribution:
        """``series`` tells one series of points from another. With ``increases`` count and sum of a
        cumulative point are of what came in, too. Raises MalformedHistogram."""
        buckets.check()
        total = point.sum if point.HasField("sum") else None
        counts = Counts(point.count, total, buckets)
        problem = _uncounted(counts)
        if not cumulative:
            least = point.min if point.HasField("min") else None
            greatest = point.max if point.HasField("max") else None
            return Distribution(point.count, total, tuple(buckets.spread(least, greatest)), problem)
        new = self._former.since(series, point.start_time_unix_nano, point.time_unix_nano, counts)
        if isinstance(new, str):
            return Distribution(point.count, total, problem=new)
        # The least and the greatest of a cumulative point are those of its whole life.
        spread = tuple(new.buckets.spread(None, None))
        of = new if increases else counts
        return Distribution(of.count, of.sum, spread, _uncounted(new))


def _uncounted(counts: Counts) -> str | None:
    """``NO_BUCKETS`` where values were counted and none can be placed. Raises MalformedHistogram
    where the buckets hold more or fewer values than were counted."""
    held, buckets = counts.buckets.total, counts.buckets
    if isinstance(buckets, ExplicitBuckets) and not buckets.bounds:
        if buckets.counts and held != counts.count:
            raise MalformedHistogram(f"the count is {counts.count}, and its only bucket holds {held}")
        return NO_BUCKETS if counts.count else None
    if held != counts.count:
        raise MalformedHistogram(f"the count is {counts.count}, and the buckets hold {held}")
    return None


def explicit_buckets(point: HistogramDataPoint) -> Buckets:
    """The buckets of a histogram's point, not yet checked."""
    return ExplicitBuckets(_shared(tuple(point.explicit_bounds)), tuple(point.bucket_counts))


@lru_cache(maxsize=256)
def _shared(bounds: tuple[float, ...]) -> tuple[float, ...]:
    """The same bounds, once for the thousands of series that have them."""
    return bounds


def exponential_buckets(point: ExponentialHistogramDataPoint) -> Buckets:
    """The buckets of an exponential histogram's point, not yet checked."""
    positive, negative = point.positive, point.negative
    return ExponentialBuckets(
        scale=point.scale,
        zero_count=point.zero_count,
        zero_threshold=point.zero_threshold,
        positive=Side.of(positive.offset, positive.bucket_counts),
        negative=Side.of(negative.offset, negative.bucket_counts),
    )
