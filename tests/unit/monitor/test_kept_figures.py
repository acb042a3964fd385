"""What is worked out of a cell is worked out once, and is that of the cell and of the condition."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.aggregates import quantile
from services.monitor.domain.measuring.kept_figures import KeptFigures
from services.monitor.domain.measuring.windows import Floats, Ints
from tests.unit.monitor.engine_log import T0, rule, run, told
from tests.unit.monitor.reference import LogRecord, Point, ReferenceEngine
from tests.unit.monitor.test_engine_properties import logs, rules

COUNTED_ONCE = patch.object(quantile, "_MANY_SAMPLES", 0)
"""However few samples a cell has: with few they are counted each time, which is cheaper."""


class Work:
    """Twice the number, and its square; notes for which numbers it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def of(self, subject: KeptFigures, what: str, numbers: Ints) -> tuple[Floats, ...]:
        def work(missing: Ints) -> tuple[Floats, Floats]:
            self.asked += numbers[missing].tolist()
            return 2.0 * numbers[missing], numbers[missing].astype(float) ** 2

        return subject.of(what, numbers, work)


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.sampled_from(["a", "b"])), max_size=40)
)
def test_each_figure_is_worked_out_once_and_found_again(steps: list[tuple[int, int, str]]) -> None:
    """Each step adds some cells, forgets some of the oldest, and asks for every third that is left."""
    subject, works = KeptFigures(), {"a": Work(), "b": Work()}
    begin = end = 0
    for added, forgotten, what in steps:
        numbers = subject.number(added)
        assert numbers.tolist() == list(range(end, end + added))
        end += added
        begin = min(end, begin + forgotten)
        subject.forget_before(begin)
        some = np.arange(begin, end)[::3]
        double, square = works[what].of(subject, what, some)
        assert double.tolist() == (2.0 * some).tolist()
        assert square.tolist() == (some.astype(float) ** 2).tolist()
    for work in works.values():
        assert len(work.asked) == len(set(work.asked))


def test_memory_is_bounded_by_what_is_held() -> None:
    subject, work = KeptFigures(), Work()
    for _ in range(2_000):
        numbers = subject.number(1_000)
        subject.forget_before(int(numbers[0]) - 9_000)
        work.of(subject, "a", numbers)
    (column, _) = subject._columns["a"]
    assert len(column) <= 60_000


@pytest.mark.parametrize("thresholds", [(95.0, 90.0), (90.0, 95.0), (20.0, 95.0, 90.0)])
@pytest.mark.parametrize("portion", [1, 7, 10_000])
def test_several_triggers_on_one_lane_each_count_by_their_own_threshold(
    thresholds: tuple[float, ...], portion: int
) -> None:
    """Also where the first of them is never reached, and where late samples come to a counted second."""
    chance = np.random.default_rng(5)
    log = []
    for offset in range(1_800):
        at = T0 + offset / 40
        # Most seconds have been counted when the late ones come.
        late = 6.0 if chance.random() < 0.04 else 0.0
        reaches = late or chance.random() < 0.03
        value = 93.0 if reaches else float(chance.uniform(0.0, 88.0))
        log.append(LogRecord(offset, at, (Point("m", "c", at - late, value, ()),)))
    of_rules = [
        rule(
            f"above-{threshold:g}",
            aggregate="p95",
            window=20,
            when=f"> {threshold}",
            clear=f"< {threshold / 2}",
            lasting=3,
        )
        for threshold in thresholds
    ]
    cuts = list(range(portion, len(log), portion))

    reference = ReferenceEngine(of_rules, 2.0)
    expected = reference.run(log)
    assert len(expected) >= 2
    with COUNTED_ONCE:
        assert told(run(of_rules, log, lateness=2.0, portions=cuts)) == expected


def test_a_late_sample_of_a_counted_second_is_counted() -> None:
    """1 and 9 at second 10 are no median above 5; with the 9 that comes two seconds late they are."""
    sent = [(10.0, 10.0, 1.0), (10.2, 10.2, 9.0), (12.1, 12.1, 1.0), (12.2, 10.5, 9.0), (12.3, 10.6, 9.0)]
    log = [
        LogRecord(offset, T0 + at, (Point("m", "c", T0 + time, value, ()),))
        for offset, (at, time, value) in enumerate(sent)
    ]
    log.append(LogRecord(len(sent), T0 + 14.0, clock=T0 + 14.0))
    median = rule(aggregate="p50", window=5, when="> 5")

    with COUNTED_ONCE:
        found = run([median], log, portions=range(1, len(log)))

    assert [(each.at - T0, each.kind, each.value) for each in found] == [(13, "fired", 9.0)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rules(), logs(), st.lists(st.integers(1, 24), max_size=24))
def test_counting_once_makes_no_difference(
    of_rules: list[Rule], log: list[LogRecord], cuts: list[int]
) -> None:
    with COUNTED_ONCE:
        found = run(of_rules, log, portions=cuts)
    assert found == run(of_rules, log)
