"""OpenTelemetry's two histograms as values: buckets, and what came in since an earlier point.

Explicit bounds: bucket i holds (bounds[i-1], bounds[i]], the last one is open. Exponential: bucket i
of scale s holds (base^i, base^(i+1)] with base = 2^(2^-s), the same below zero, and one bucket
around zero. See the data model: https://opentelemetry.io/docs/specs/otel/metrics/data-model/
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from services.monitor.domain.ingest.quantiles import Bucket

MIN_SCALE, MAX_SCALE = -10, 20
"""Beyond them a bucket's edge is no longer told from its neighbour by a floating-point number."""


class MalformedHistogram(ValueError):
    """The buckets contradict each other; the message says how."""


@dataclass(frozen=True, slots=True)
class ExplicitBuckets:
    """``bounds`` may be empty: then there is only a count and a sum, and no quantile."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """How many values the buckets hold."""
        return sum(self.counts)

    def check(self) -> None:
        """Raises MalformedHistogram."""
        if not self.bounds and len(self.counts) <= 1:
            return
        if len(self.counts) != len(self.bounds) + 1:
            raise MalformedHistogram(
                f"{len(self.counts)} bucket counts for {len(self.bounds)} bounds; there must be one more"
            )
        if not all(map(math.isfinite, self.bounds)) or any(
            low >= high for low, high in pairwise(self.bounds)
        ):
            raise MalformedHistogram("the bounds are not finite or do not ascend")

    def since(self, earlier: ExplicitBuckets) -> ExplicitBuckets | None:
        """What was counted after ``earlier``; None where it was counted anew since then."""
        if earlier.bounds != self.bounds or len(earlier.counts) != len(self.counts):
            return None
        counts = tuple(new - old for new, old in zip(self.counts, earlier.counts, strict=True))
        return None if any(count < 0 for count in counts) else ExplicitBuckets(self.bounds, counts)

    def spread(self, least: float | None, greatest: float | None) -> Iterator[Bucket]:
        """The buckets with finite edges. The open ones end at the least and the greatest value
        where those are known; otherwise at 0 (or the bound below it) and at the last bound."""
        if not self.bounds:
            return
        first, last = self.bounds[0], self.bounds[-1]
        lowest = min(first, 0.0) if least is None else min(first, least)
        highest = last if greatest is None else max(last, greatest)
        edges = (lowest, *self.bounds, highest)
        for (lower, upper), count in zip(pairwise(edges), self.counts, strict=True):
            if count:
                yield Bucket(lower, upper, count)


@dataclass(frozen=True, slots=True)
class ExponentialBuckets:
    """Counts by bucket index, above and below zero; ``zero_count`` values within ``zero_threshold``."""

    scale: int
    zero_count: int
    zero_threshold: float
    positive: Mapping[int, int]
    negative: Mapping[int, int]

    @property
    def total(self) -> int:
        """How many values the buckets hold."""
        return self.zero_count + sum(self.positive.values()) + sum(self.negative.values())

    def check(self) -> None:
        """Raises MalformedHistogram."""
        if not MIN_SCALE <= self.scale <= MAX_SCALE:
            raise MalformedHistogram(f"scale {self.scale}: not within {MIN_SCALE} to {MAX_SCALE}")
        if not 0.0 <= self.zero_threshold < math.inf:
            raise MalformedHistogram(f"zero threshold {self.zero_threshold:g}: not a finite width")

    def since(self, earlier: ExponentialBuckets) -> ExponentialBuckets | None:
        """What was counted after ``earlier``; None where it was counted anew since then. A
        histogram may have become coarser in between, never finer."""
        if earlier.scale < self.scale or earlier.zero_threshold > self.zero_threshold:
            return None
        shift = earlier.scale - self.scale
        zeros = self.zero_count - earlier.zero_count
        positive = _difference(self.positive, _coarser(earlier.positive, shift))
        negative = _difference(self.negative, _coarser(earlier.negative, shift))
        if zeros < 0 or positive is None or negative is None:
            return None
        return ExponentialBuckets(self.scale, zeros, self.zero_threshold, positive, negative)

    def spread(self, least: float | None, greatest: float | None) -> Iterator[Bucket]:
        """The buckets with their edges, within the least and the greatest value where known."""
        low = -math.inf if least is None else least
        high = math.inf if greatest is None else greatest
        for index, count in self.negative.items():
            yield _within(Bucket(-_edge(index + 1, self.scale), -_edge(index, self.scale), count), low, high)
        if self.zero_count:
            yield _within(Bucket(-self._zero_below, self._zero_above, self.zero_count), low, high)
        for index, count in self.positive.items():
            yield _within(Bucket(_edge(index, self.scale), _edge(index + 1, self.scale), count), low, high)

    @property
    def _zero_below(self) -> float:
        return self.zero_threshold if self.negative else 0.0

    @property
    def _zero_above(self) -> float:
        return self.zero_threshold if self.positive else 0.0


Buckets = ExplicitBuckets | ExponentialBuckets


def since(new: Buckets, earlier: Buckets) -> Buckets | None:
    """What ``new`` counted after ``earlier``; None where they cannot be of one series."""
    if isinstance(new, ExplicitBuckets):
        return new.since(earlier) if isinstance(earlier, ExplicitBuckets) else None
    return new.since(earlier) if isinstance(earlier, ExponentialBuckets) else None


def _edge(index: int, scale: int) -> float:
    exponent = math.ldexp(index, -scale)
    return 2.0**exponent if exponent < 1024 else float.fromhex("0x1.fffffffffffffp+1023")


def _within(bucket: Bucket, low: float, high: float) -> Bucket:
    lower, upper = max(bucket.lower, low), min(bucket.upper, high)
    return Bucket(lower, upper, bucket.count) if lower <= upper else bucket


def _coarser(counts: Mapping[int, int], shift: int) -> Mapping[int, int]:
    if not shift:
        return counts
    found: dict[int, int] = {}
    for index, count in counts.items():
        found[index >> shift] = found.get(index >> shift, 0) + count
    return found


def _difference(new: Mapping[int, int], old: Mapping[int, int]) -> dict[int, int] | None:
    if any(count > new.get(index, 0) for index, count in old.items()):
        return None
    found = {index: count - old.get(index, 0) for index, count in new.items()}
    return {index: count for index, count in found.items() if count}
