"""The plot's geometry: everything lies within it, and is where its value says."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.analyzer.domain.impact import pieces, thinned, time_beyond
from services.analyzer.domain.plot import LARGE, Plot, Scale, marks, plot_of, time_ticks, value_ticks
from services.analyzer.domain.report import build_report
from services.analyzer.domain.wording import duration, number, quantity
from tests.unit.analyzer.scenario import START, Scenario, closing_of, records_of

VALUES = st.lists(st.floats(-1e9, 1e9, allow_nan=False), min_size=2, max_size=40)


@pytest.fixture(scope="module")
def plot() -> Plot:
    scenario = Scenario()
    records = records_of(scenario, scenario.rolled_back())
    report = build_report(closing_of(scenario, records), records)
    drawn = plot_of(report, report.metrics[0], LARGE, marked=True)
    assert drawn is not None
    return drawn


def test_it_marks_the_stages_in_order(plot: Plot) -> None:
    assert [mark.key for mark in plot.marks] == ["began", "fired", "started", "completed", "recovered"]
    assert [mark.number for mark in plot.marks] == [1, 2, 3, 4, 5]
    assert [mark.x for mark in plot.marks] == sorted(mark.x for mark in plot.marks)
    for one, other in pairwise(plot.marks):
        assert other.row != one.row or other.x - one.x >= 20


def test_it_shows_before_during_and_after_with_the_threshold(plot: Plot) -> None:
    (path,) = plot.paths
    points = [tuple(map(float, pair.split(","))) for pair in path.removeprefix("M").split("L")]
    began, recovered = plot.marks[0].x, plot.marks[-1].x
    assert plot.threshold is not None
    assert all(y > plot.threshold for x, y in points if x < began - 10)
    assert all(y < plot.threshold for x, y in points if began <= x < recovered - 40)
    assert all(y > plot.threshold for x, y in points if x > recovered)
    assert {band.key for band in plot.bands} == {"breach", "rollback"}


def test_everything_lies_within_it(plot: Plot) -> None:
    for path in plot.paths + plot.area:
        for pair in path.removeprefix("M").removesuffix("Z").split("L"):
            x, y = map(float, pair.split(","))
            assert plot.size.left <= x <= plot.right
            assert plot.size.top <= y <= plot.bottom
    assert all(plot.size.left <= tick.at <= plot.right for tick in plot.x_ticks)
    assert "median" in plot.description
    assert "threshold > 3000 for 10s" in plot.description


@pytest.mark.parametrize("values", [[0.0, 5e-324], [5e-324], [7.0, 7.0], [0.0], [-3e-12, 2e-12]])
def test_values_that_hardly_differ_have_ticks(values: list[float]) -> None:
    ticks = value_ticks(values, None, 4)
    assert ticks == sorted(set(ticks))
    assert ticks[0] <= min(values) <= max(values) <= ticks[-1]


@example(values=[0.0, 5e-324], threshold=None, count=2)
@given(values=VALUES, threshold=st.none() | st.floats(-1e9, 1e9, allow_nan=False), count=st.integers(2, 8))
def test_ticks_hold_every_value(values: list[float], threshold: float | None, count: int) -> None:
    ticks = value_ticks(values, threshold, count)
    reach = [*values, *([threshold] if threshold is not None else [])]
    slack = 1e-9 * max(1.0, *map(abs, reach))
    assert ticks[0] <= min(reach) + slack
    assert ticks[-1] >= max(reach) - slack
    assert 2 <= len(ticks) <= 3 * count + 3


@given(low=st.floats(1, 2e9, allow_subnormal=False), length=st.floats(1, 200_000))
def test_times_are_round_and_within(low: float, length: float) -> None:
    ticks = time_ticks(low, low + length, 8)
    assert all(low <= at <= low + length for at, _ in ticks)
    assert all(at == int(at) for at, _ in ticks)
    assert len(ticks) <= 9


def test_a_scale_without_extent_is_its_middle() -> None:
    assert Scale(5, 5, 0, 100)(5) == 50


@given(
    values=st.lists(st.floats(-1e6, 1e6, allow_nan=False), max_size=3_000),
    limit=st.sampled_from([10, 100, 600]),
)
def test_thinning_keeps_the_extremes(values: list[float], limit: int) -> None:
    points = [(float(at), value) for at, value in enumerate(values)]
    kept = thinned(points, limit)
    assert len(kept) <= limit
    assert [at for at, _ in kept] == sorted(at for at, _ in kept)
    if values:
        assert min(value for _, value in kept) == min(values)
        assert max(value for _, value in kept) == max(values)


def test_no_line_is_drawn_through_a_hole() -> None:
    points = [(float(at), 1.0) for at in (*range(10), *range(60, 70))]
    assert [len(piece) for piece in pieces(points)] == [10, 10]


@pytest.mark.parametrize(
    ("points", "downward", "expected"),
    [
        ([(0, 1), (1, 5), (2, 5), (3, 1)], False, 2.0),
        ([(0, 5), (1, 5)], False, 2.0),
        ([(0, 1), (1, 1)], False, 0.0),
        ([(0, 1), (1, 5), (2, 1)], True, 2.0),
        ([(0, 1), (1, 5), (100, 1), (101, 1), (102, 1)], False, 5.0),
        ([], False, 0.0),
    ],
)
def test_time_beyond_the_threshold(
    points: list[tuple[float, float]], downward: bool, expected: float
) -> None:
    assert time_beyond(points, 3.0, downward=downward) == expected


def test_flags_that_would_overlap_go_into_other_rows() -> None:
    scenario = Scenario()
    records = records_of(scenario, scenario.rolled_back())
    stages = build_report(closing_of(scenario, records), records).stages
    narrow = Scale(START.timestamp(), (START + timedelta(hours=3)).timestamp(), 0, 900)
    assert [mark.row for mark in marks(stages, narrow)] == [0, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.95, "0.95"),
        (0.042, "0.042"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (280.4, "280"),
        (4_120.0, "4,120"),
        (-3_000, "-3,000"),
        (1e12, "1.000e+12"),
        (0.00001, "1.000e-05"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (5.8, "5.80 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (84, "1 min 24 s"),
        (3_720, "1 h 02 min"),
        (-2, "-2.00 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_units_follow_from_names() -> None:
    assert quantity(2_140, "response_time_p95_ms") == "2,140 ms"
    assert quantity(0.9, "accuracy_score") == "0.9"
