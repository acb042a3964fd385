"""OpenTelemetry's two histograms as values: buckets, and what came in since an earlier point.

Explicit bounds: bucket i holds (bounds[i-1], bounds[i]], the last one is open. Exponential: bucket i
of scale s holds (base^i, base^(i+1)] with base = 2^(2^-s), the same below zero, and one bucket
around zero. See the data model: https://opentelemetry.io/docs/specs/otel/metrics/data-model/
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import sub
from typing import NamedTuple

from services.monitor.domain.ingest.quantiles import Bucket

MIN_SCALE, MAX_SCALE = -10, 20
"""Beyond them a bucket's edge is no longer told from its neighbour by a floating-point number."""

_USUAL_BUCKETS = 1_000
"""The edges of so many are kept; SDKs make 160."""


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
        if not _ascend(self.bounds):
            raise MalformedHistogram("the bounds are not finite or do not ascend")

    def since(self, earlier: ExplicitBuckets) -> ExplicitBuckets | None:
        """What was counted after ``earlier``; None where it was counted anew since then."""
        if earlier.bounds != self.bounds or len(earlier.counts) != len(self.counts):
            return None
        counts = tuple(new - old for new, old in zip(self.counts, earlier.counts, strict=True))
        return None if any(count < 0 for count in counts) else ExplicitBuckets(self.bounds, counts)

    def spread(self, least: float | None, greatest: float | None) -> Iterator[Bucket]:
        """The buckets with finite edges, within the least and the greatest value where known. The open
        ones end there, otherwise at 0 (or the bound below it) and at the last bound."""
        if not self.bounds:
            return
        first, last = self.bounds[0], self.bounds[-1]
        lowest = min(first, 0.0) if least is None else min(first, least)
        highest = last if greatest is None else max(last, greatest)
        edges = (lowest, *self.bounds, highest)
        for (lower, upper), count in zip(pairwise(edges), self.counts, strict=True):
            if count:
                yield _within(Bucket(lower, upper, count), least, greatest)


class Side(NamedTuple):
    """The buckets on one side of zero: ``counts[i]`` values at index ``offset + i``, neither end being 0.

    An array, since 100,000 series of 160 buckets each may be remembered."""

    offset: int
    counts: array[int]

    @classmethod
    def of(cls, offset: int, counts: Iterable[int]) -> Side:
        """Without the zeros at both ends."""
        counted = array("Q", counts)
        end = len(counted)
        while end and not counted[end - 1]:
            end -= 1
        first = 0
        while first < end and not counted[first]:
            first += 1
        return cls(offset + first, counted[first:end])

    def since(self, earlier: Side) -> Side | None:
        """What was counted after ``earlier``; None where a bucket has fewer than before."""
        first = earlier.offset - self.offset
        end = first + len(earlier.counts)
        if not earlier.counts:
            return self
        if first < 0 or end > len(self.counts):
            return None
        counts = self.counts[:]
        try:
            counts[first:end] = array("Q", map(sub, counts[first:end], earlier.counts))
        except OverflowError:
            return None
        return Side(self.offset, counts)

    def coarser(self, shift: int) -> Side:
        """The same values in buckets of which each is 2^shift of these."""
        if not shift or not self.counts:
            return self
        first = self.offset >> shift
        found = array("Q", bytes(8 * (((self.offset + len(self.counts) - 1) >> shift) - first + 1)))
        for index, count in enumerate(self.counts, self.offset):
            found[(index >> shift) - first] += count
        return Side(first, found)

    def without(self, swallowed: Side, end: int) -> tuple[Side, int]:
        """Less what ``swallowed`` has no more of it below the index ``end``; and how much that is."""
        counts = self.counts[:]
        gone = 0
        for at in range(min(len(counts), end - self.offset)):
            place = self.offset + at - swallowed.offset
            kept = swallowed.counts[place] if 0 <= place < len(swallowed.counts) else 0
            missing = max(0, counts[at] - kept)
            counts[at] -= missing
            gone += missing
        return Side.of(self.offset, counts), gone


@dataclass(frozen=True, slots=True)
class ExponentialBuckets:
    """Counts by bucket index, above and below zero; ``zero_count`` values within ``zero_threshold``."""

    scale: int
    zero_count: int
    zero_threshold: float
    positive: Side
    negative: Side

    @property
    def total(self) -> int:
        """How many values the buckets hold."""
        return self.zero_count + sum(self.positive.counts) + sum(self.negative.counts)

    def check(self) -> None:
        """Raises MalformedHistogram."""
        if not MIN_SCALE <= self.scale <= MAX_SCALE:
            raise MalformedHistogram(f"scale {self.scale}: not within {MIN_SCALE} to {MAX_SCALE}")
        if not 0.0 <= self.zero_threshold < math.inf:
            raise MalformedHistogram(f"zero threshold {self.zero_threshold:g}: not a finite width")

    def since(self, earlier: ExponentialBuckets) -> ExponentialBuckets | None:
        """What was counted after ``earlier``; None where it was counted anew since then. A histogram may
        have become coarser in between, never finer, and its zero bucket wider, never narrower."""
        if earlier.scale < self.scale or earlier.zero_threshold > self.zero_threshold:
            return None
        zeros = self.zero_count - earlier.zero_count
        sides = []
        for new, old in ((self.positive, earlier.positive), (self.negative, earlier.negative)):
            before = old.coarser(earlier.scale - self.scale)
            if earlier.zero_threshold < self.zero_threshold:
                before, swallowed = before.without(new, self._first_beyond_zero)
                zeros -= swallowed
            sides.append(new.since(before))
        positive, negative = sides
        if zeros < 0 or positive is None or negative is None:
            return None
        return ExponentialBuckets(self.scale, zeros, self.zero_threshold, positive, negative)

    def spread(self, least: float | None, greatest: float | None) -> Iterator[Bucket]:
        """The buckets with their edges, in order, within the least and the greatest value where known."""
        edges, counts = _edges(self.negative, self.scale), self.negative.counts
        for lower, upper, count in zip(edges[:0:-1], edges[-2::-1], reversed(counts), strict=True):
            if count:
                yield _within(Bucket(-lower, -upper, count), least, greatest)
        if self.zero_count:
            yield _within(Bucket(-self._zero_below, self._zero_above, self.zero_count), least, greatest)
        edges, counts = _edges(self.positive, self.scale), self.positive.counts
        for lower, upper, count in zip(edges[:-1], edges[1:], counts, strict=True):
            if count:
                yield _within(Bucket(lower, upper, count), least, greatest)

    @property
    def _first_beyond_zero(self) -> int:
        """The index of the first bucket that does not reach into the zero bucket."""
        return math.ceil(math.ldexp(math.log2(self.zero_threshold), self.scale))

    @property
    def _zero_below(self) -> float:
        return self.zero_threshold if self.negative.counts else 0.0

    @property
    def _zero_above(self) -> float:
        return self.zero_threshold if self.positive.counts else 0.0


Buckets = ExplicitBuckets | ExponentialBuckets


def since(new: Buckets, earlier: Buckets) -> Buckets | None:
    """What ``new`` counted after ``earlier``; None where they cannot be of one series."""
    if isinstance(new, ExplicitBuckets):
        return new.since(earlier) if isinstance(earlier, ExplicitBuckets) else None
    return new.since(earlier) if isinstance(earlier, ExponentialBuckets) else None


def _edges(side: Side, scale: int) -> tuple[float, ...]:
    """The edges of its buckets, one more than there are, as distances from zero."""
    number = len(side.counts) + 1
    powers = _powers if number <= _USUAL_BUCKETS else _powers.__wrapped__
    return powers(side.offset, number, scale)


@lru_cache(maxsize=1_024)
def _powers(first: int, number: int, scale: int) -> tuple[float, ...]:
    exponents = (math.ldexp(index, -scale) for index in range(first, first + number))
    return tuple(2.0**exponent if exponent < 1024 else sys.float_info.max for exponent in exponents)


@lru_cache(maxsize=256)
def _ascend(bounds: tuple[float, ...]) -> bool:
    return all(map(math.isfinite, bounds)) and all(low < high for low, high in pairwise(bounds))


def _within(bucket: Bucket, least: float | None, greatest: float | None) -> Bucket:
    """What lies between the least and the greatest value; all of it where they contradict the bucket."""
    if least is None and greatest is None:
        return bucket
    lower = bucket.lower if least is None else max(bucket.lower, least)
    upper = bucket.upper if greatest is None else min(bucket.upper, greatest)
    return Bucket(lower, upper, bucket.number) if lower <= upper else bucket
