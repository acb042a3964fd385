"""Quantiles from buckets, against the values that were counted."""

from __future__ import annotations

import bisect
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.domain.ingest.quantiles import Bucket, quantiles

WANTED = (0.5, 0.9, 0.95, 0.99)
BOUNDS = (0.0, 1.0, 2.5, 5.0, 10.0, 100.0)
drawn = st.lists(st.floats(0.001, 100.0), min_size=1, max_size=60)


def _counted(values: list[float], bounds: tuple[float, ...]) -> list[Bucket]:
    places = [bisect.bisect_left(bounds, value) for value in values]
    return [
        Bucket(bounds[at - 1], bounds[at], places.count(at)) for at in range(1, len(bounds)) if at in places
    ]


@given(drawn)
def test_a_quantile_is_in_the_bucket_of_the_true_one(values: list[float]) -> None:
    found = quantiles(_counted(values, BOUNDS), WANTED)
    assert found is not None
    ordered = sorted(values)
    for share, value in zip(WANTED, found, strict=True):
        true = ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]
        place = bisect.bisect_left(BOUNDS, true)
        assert BOUNDS[place - 1] - 1e-9 <= value <= BOUNDS[place] + 1e-9


@given(drawn, drawn)
def test_overlapping_buckets_share_their_values_evenly(left: list[float], right: list[float]) -> None:
    """Splitting every bucket at every bound changes nothing, and so makes them not overlap."""
    other = (0.0, 0.7, 3.0, 30.0, 100.0)
    buckets = _counted(left, BOUNDS) + _counted(right, other)
    bounds = sorted({*BOUNDS, *other})
    split: dict[tuple[float, float], float] = {}
    for bucket in buckets:
        for lower, upper in pairwise(bounds):
            if bucket.lower <= lower and upper <= bucket.upper:
                share = (upper - lower) / (bucket.upper - bucket.lower)
                split[lower, upper] = split.get((lower, upper), 0.0) + bucket.number * share
    apart = [Bucket(lower, upper, count) for (lower, upper), count in sorted(split.items())]
    assert quantiles(buckets, WANTED) == pytest.approx(quantiles(apart, WANTED), rel=1e-6, abs=1e-9)


def test_a_heap_within_another_bucket() -> None:
    found = quantiles([Bucket(0.0, 10.0, 10), Bucket(4.0, 4.0, 80)], WANTED)
    assert found == pytest.approx((4.0, 4.0, 5.5, 9.1))


def test_nothing_was_counted() -> None:
    assert quantiles([], WANTED) is None
    assert quantiles([Bucket(0.0, 1.0, 0)], WANTED) is None
