"""One histogram point as a distribution: its count, its sum, and the buckets of what came in."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint, HistogramDataPoint

from services.monitor.domain.ingest.cumulative import FormerPoints, Point
from services.monitor.domain.ingest.histograms import Buckets, ExplicitBuckets, ExponentialBuckets
from services.monitor.domain.ingest.quantiles import Bucket, quantiles

HistogramPoint = HistogramDataPoint | ExponentialHistogramDataPoint


@dataclass(frozen=True, slots=True)
class Distribution:
    """``count`` and ``sum`` as the point has them; ``buckets`` hold what came in since the point
    before. ``problem`` names why they are not known; ``sum`` None was not given."""

    count: int
    sum: float | None
    buckets: tuple[Bucket, ...] = ()
    problem: str | None = None

    def plus(self, other: Distribution) -> Distribution:
        """Both together; the sum is known only if both are."""
        known = self.sum is not None and other.sum is not None
        total = (self.sum or 0.0) + (other.sum or 0.0) if known else None
        return Distribution(self.count + other.count, total, self.buckets + other.buckets)

    def quantiles(self, wanted: Sequence[float]) -> tuple[float, ...] | None:
        """None where nothing came in, or it is not known where."""
        return quantiles(self.buckets, wanted)


class Distributions:
    """Reads points of both kinds."""

    def __init__(self, former: FormerPoints) -> None:
        self._former = former

    def read(
        self, point: HistogramPoint, buckets: Buckets, series: Hashable, *, cumulative: bool
    ) -> Distribution:
        """``series`` tells one series of points from another. Raises MalformedHistogram."""
        buckets.check()
        total = point.sum if point.HasField("sum") else None
        if not cumulative:
            least = point.min if point.HasField("min") else None
            greatest = point.max if point.HasField("max") else None
            return Distribution(point.count, total, tuple(buckets.spread(least, greatest)))
        new = self._former.since(series, Point(point.start_time_unix_nano, point.time_unix_nano, buckets))
        if isinstance(new, str):
            return Distribution(point.count, total, problem=new)
        # The least and the greatest of a cumulative point are those of its whole life.
        return Distribution(point.count, total, tuple(new.spread(None, None)))


def explicit_buckets(point: HistogramDataPoint) -> Buckets:
    """The buckets of a histogram's point, not yet checked."""
    return ExplicitBuckets(tuple(point.explicit_bounds), tuple(point.bucket_counts))


def exponential_buckets(point: ExponentialHistogramDataPoint) -> Buckets:
    """The buckets of an exponential histogram's point, not yet checked."""
    return ExponentialBuckets(
        scale=point.scale,
        zero_count=point.zero_count,
        zero_threshold=point.zero_threshold,
        positive=_counted(point.positive),
        negative=_counted(point.negative),
    )


def _counted(buckets: ExponentialHistogramDataPoint.Buckets) -> dict[int, int]:
    return {index: count for index, count in enumerate(buckets.bucket_counts, buckets.offset) if count}
