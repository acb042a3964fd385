"""What an aggregate was in the past: as over the samples themselves, from what little is kept of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.monitor.domain.language.aggregates import AGGREGATES, TRAITS, Aggregate
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.rules import Check
from services.monitor.domain.measuring import drawn_past, drawn_samples, second_figures
from services.monitor.domain.measuring.drawn_past import DrawnPast
from services.monitor.domain.measuring.registry import REGISTRY
from services.monitor.domain.measuring.second_figures import SecondsPast
from services.monitor.domain.measuring.value_past import Moments, ValuePast
from services.monitor.domain.measuring.windows import Floats, Visible
from tests.unit.monitor.engine_log import T0
from tests.unit.monitor.reference import Point, counter_points, value_at

KNOWN = [name for name in AGGREGATES if not TRAITS[name].is_relative]
OF_SECONDS = [name for name in KNOWN if isinstance(REGISTRY[name].past(1, 1), SecondsPast)]
ROWS = 3
LENGTH = 200
VALUES = st.sampled_from([0.0, 1.0, 2.5, 9.75, -3.0, 128.0])
SECONDS = st.one_of(st.sampled_from([0, 20, 21, 22]), st.integers(0, 50))


@dataclass(frozen=True)
class Taken:
    row: int
    time: float
    value: float


SAMPLES = st.lists(
    st.builds(
        Taken,
        st.sampled_from([0, 0, 0, 1, 2]),
        st.builds(lambda at, part: T0 + at - part, SECONDS, st.sampled_from([0, 0.25, 0.5, 0.75])),
        VALUES,
    ),
    max_size=80,
)
"""Many in the same few seconds, and those in no order."""
MOMENTS = st.builds(
    lambda newest, step, count, window: Moments(np.array(newest) + T0, step, count, window),
    st.lists(st.integers(30, 55), min_size=ROWS, max_size=ROWS),
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(1, 30),
)


def _visible(samples: Sequence[Taken], first_offset: int) -> Visible:
    time = np.array([each.time for each in samples])
    second = np.ceil(time).astype(np.int64)
    row = np.array([each.row for each in samples], dtype=np.int64)
    value = np.array([each.value for each in samples])
    return Visible(row, second, second, time, value, first_offset + np.arange(len(samples)))


def _fed(aggregate: Aggregate, window: int, samples: Sequence[Taken], cuts: Sequence[int] = ()) -> ValuePast:
    past = REGISTRY[aggregate].past(window, LENGTH)
    ends = sorted({0, len(samples), *(at for at in cuts if at < len(samples))})
    for begin, end in pairwise(ends):
        past.add(_visible(samples[begin:end], begin))
        past.forget(T0 + begin)
    return past


def _expected(aggregate: Aggregate, samples: Sequence[Taken], moments: Moments) -> list[list[float]]:
    """By the reference: over one window, one sample at a time."""
    check = Check("m", aggregate, moments.window, Condition(">", 0.0))
    rows = []
    for row, seconds in enumerate(moments.seconds.tolist()):
        points = [Point("m", "a", each.time, each.value) for each in samples if each.row == row]
        if aggregate == "rate":
            points = counter_points(points)
        known = (value_at(check, points, second) for second in seconds)
        rows.append([math.nan if value is None else value for value in known])
    return rows


@pytest.mark.parametrize("aggregate", KNOWN)
@settings(max_examples=60, deadline=None)
@given(SAMPLES, MOMENTS, st.lists(st.integers(1, 79), max_size=20))
def test_it_is_what_it_was_over_the_samples(
    aggregate: Aggregate, samples: list[Taken], moments: Moments, cuts: list[int]
) -> None:
    """However they come, and however often what waits is taken in."""
    rows = np.arange(ROWS)
    found = _fed(aggregate, moments.window, samples).values_at(rows, moments)
    np.testing.assert_allclose(found, _expected(aggregate, samples, moments), rtol=1e-12, atol=1e-12)
    with (
        patch.multiple(second_figures, _AT_LEAST=1, _PARTS=2, _PLACES=1),
        patch.multiple(drawn_past, _PLACES=1),
        patch.multiple(drawn_samples, _AT_LEAST=1),
    ):
        again = _fed(aggregate, moments.window, samples, cuts).values_at(rows, moments)
    np.testing.assert_array_equal(again, found)
    backwards = Moments(moments.newest[::-1], moments.step, moments.count, moments.window)
    turned = _fed(aggregate, moments.window, samples).values_at(rows[::-1], backwards)
    np.testing.assert_array_equal(turned[::-1], found)


@pytest.mark.parametrize("aggregate", KNOWN)
def test_nothing_is_known_where_nothing_was(aggregate: Aggregate) -> None:
    past = REGISTRY[aggregate].past(10, LENGTH)
    moments = Moments(np.array([T0, T0]), step=5, count=4, window=10)
    assert np.isnan(past.values_at(np.arange(2), moments)).all()
    past.add(_visible([Taken(5, T0 - 1.0, 3.0)], 0))
    assert np.isnan(past.values_at(np.arange(2), moments)).all()


@pytest.mark.parametrize("aggregate", OF_SECONDS)
def test_memory_is_bounded_by_the_seconds_whatever_the_rate(aggregate: Aggregate) -> None:
    """A thousand samples a second, over three times as long as is kept."""
    past = REGISTRY[aggregate].past(60, 600)
    assert isinstance(past, SecondsPast)
    for second in range(T0, T0 + 1_800):
        past.add(_busy_second(second, 1_000, lambda count: np.arange(count) % 7.0))
        past.forget(second + 1)
        # The cells that the kept time begins and ends in are kept as a whole.
        assert len(past) <= 600 + 2 * 10
        assert past.waiting <= 2 * 4_096
    assert not past.is_drawn
    assert np.isfinite(past.values_at(np.array([0]), Moments(np.array([T0 + 1_799]), 10, 50, 60))).all()


def test_a_draw_is_bounded_too_and_told() -> None:
    past = REGISTRY["p95"].past(60, 600)
    assert isinstance(past, DrawnPast)
    for second in range(T0, T0 + 1_800):
        past.add(_busy_second(second, 24 if second < T0 + 900 else 1_000, np.zeros))
        past.forget(second + 1)
        assert len(past) <= 62 * (drawn_past.PER_CELL + 1) + 2 * 4_096
        # So many samples of a cell of ten seconds are all kept.
        assert past.is_drawn is (second >= T0 + 909)


def _busy_second(second: int, count: int, values: Callable[[int], Floats]) -> Visible:
    seconds = np.full(count, second)
    time = second - 1 + np.arange(1, count + 1) / count
    zeros = np.zeros(count, dtype=np.int64)
    return Visible(zeros, seconds, seconds, time, values(count), second * 10_000 + np.arange(count))


@pytest.mark.parametrize(("aggregate", "expected"), [("p50", 0.5), ("p90", 0.9), ("p95", 0.95)])
def test_a_draw_is_fair_where_rates_differ(aggregate: Aggregate, expected: float) -> None:
    """Half of a window has fifty times as many samples as the other half, which are much larger."""
    chance = np.random.default_rng(1)
    past = REGISTRY[aggregate].past(120, 3_600)
    for second in range(T0 + 1, T0 + 61):
        past.add(_busy_second(second, 500, chance.random))
    for second in range(T0 + 61, T0 + 121):
        past.add(_busy_second(second, 10, lambda count: 10.0 + chance.random(count)))
    newest = np.array([T0 + 120])
    found = past.values_at(np.array([0]), Moments(newest, step=60, count=1, window=120))[0, 0]
    # Of 240 samples and those drawn with them, a rank is off by three in a hundred at most, mostly.
    assert found == pytest.approx(expected / (500 / 510), abs=0.1)


def test_all_of_few_samples_count_even_if_as_many_as_are_kept() -> None:
    """Exactly as many in one cell leave out nothing of another one."""
    past, exact = DrawnPast(0.5, 60, 3_600), []
    for second in range(T0 + 1, T0 + 121):
        many = 4 if second <= T0 + 60 else 1
        samples = _busy_second(second, many, lambda count, at=second: np.arange(count) + at % 17.0)
        past.add(samples)
        exact += samples.value.tolist()
    past.forget(T0 + 180)
    assert not past.is_drawn
    found = past.values_at(np.array([0]), Moments(np.array([T0 + 120]), step=1, count=1, window=120))
    assert found[0, 0] == np.median(exact)


def test_deviations_of_values_that_are_large_beside_their_spread() -> None:
    """A running sum of squares would leave noise of them; equal ones deviate by nothing at all."""
    past = REGISTRY["stddev"].past(60, 600)
    values = 1e9 + np.array([0.1, 0.2, 0.3, 0.4])
    past.add(_busy_second(T0, 4, lambda _: values))
    past.add(_busy_second(T0 + 100, 1_000, lambda count: np.full(count, 0.1)))
    newest = np.array([T0 + 100])
    found = past.values_at(np.array([0]), Moments(newest, step=100, count=2, window=60))[0]
    assert found[0] == 0.0
    assert found[1] == pytest.approx(float(np.std(values - 1e9)), rel=1e-6)


@pytest.mark.parametrize(
    ("later", "rise"),
    [
        ([], 30.0),
        ([(0.4, 110.0)], 30.0),
        ([(0.25, 300.0)], 30.0),
        ([(0.125, 90.0)], 40.0),
        ([(0.125, 250.0)], 30.0 + 100.0 - 250.0 + 250.0),
        ([(0.75, 150.0)], 50.0),
        ([(0.75, 20.0)], 20.0 - 100.0 + 130.0),
        ([(0.5, 20.0)], 20.0 - 100.0 + 130.0),
    ],
)
def test_a_sample_between_the_ends_of_its_second_changes_no_rate(
    later: list[tuple[float, float]], rise: float
) -> None:
    """A counter that was 100 and then 130, and what comes of that second later."""
    samples = [(0.25, 100.0), (0.5, 130.0), *later]
    taken = [Taken(0, T0 + after, value) for after, value in samples]
    times = [each.time for each in taken]
    for cuts in ([], [1], [2], [1, 2]):
        past = _fed("rate", 10, taken, cuts)
        found = past.values_at(np.array([0]), Moments(np.array([T0 + 1]), step=1, count=1, window=10))
        assert found[0, 0] == rise / (max(times) - min(times))
