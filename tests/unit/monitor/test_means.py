"""A mean lies between the least and the greatest sample, whatever rounding makes of the sum."""

from __future__ import annotations

import random

import pytest

from services.monitor.domain.language.conditions import parse_condition
from services.monitor.domain.language.rules import Baseline, Check, Rule
from tests.unit.monitor.engine_log import T0, rule, run
from tests.unit.monitor.reference import LogRecord, Point

ODD = [0.1, 0.7, 1.1, 0.009, 1234.567, -0.1, 1e-300, 1.7e308 / 100]


def _log(values: list[float], *, a_second: int = 1) -> list[LogRecord]:
    times = [T0 + at / a_second for at in range(len(values))]
    return [
        LogRecord(offset, time, (Point("m", "a", time, value),))
        for offset, (time, value) in enumerate(zip(times, values, strict=True))
    ]


def _joined(when: str, window: int) -> Rule:
    """The same with a condition more: it is not swept."""
    always = Check("m", "last", 300, parse_condition("> -1e308"))
    return rule("joined", aggregate="avg", window=window, when=when, further=[always])


@pytest.mark.parametrize("sweeping", [False, True])
@pytest.mark.parametrize("a_second", [1, 7])
@pytest.mark.parametrize("value", ODD)
def test_equal_samples_are_neither_above_nor_below_themselves(
    value: float, a_second: int, sweeping: bool
) -> None:
    log = _log([value] * 70 * a_second, a_second=a_second)
    for window in (3, 6, 10, 49):
        for sign in (">", "<", "!="):
            rules = [
                rule(aggregate="avg", window=window, when=f"{sign} {value!r}"),
                _joined(f"{sign} {value!r}", window),
            ]
            assert not run(rules, log, sweeping=sweeping)
        (began,) = run(
            [rule(aggregate="avg", window=window, when=f"== {value!r}")], log[:30], sweeping=sweeping
        )
        assert (began.at, began.value) == (T0, value)


@pytest.mark.parametrize("sweeping", [False, True])
def test_of_two_nearly_equal_samples_it_is_none_further_out(sweeping: bool) -> None:
    chance = random.Random(7)  # noqa: S311
    values = [chance.choice([0.1, 0.10000000000000002]) for _ in range(300)]
    for when in ("> 0.10000000000000002", "< 0.1"):
        assert not run([rule(aggregate="avg", window=30, when=when)], _log(values), sweeping=sweeping)


def test_a_series_that_stands_is_not_above_its_baseline() -> None:
    log = _log([0.1] * 20)
    log = [*log, LogRecord(20, T0 + 20.0, release=("a", T0 + 20.0))]
    log += [LogRecord(21 + at, T0 + 21.0 + at, (Point("m", "a", T0 + 21.0 + at, 0.1),)) for at in range(9)]
    same = rule(aggregate="avg", window=3, when="!= 0", baseline=Baseline("avg", 60))
    assert not run([same], log)
    above = rule(aggregate="avg", window=3, when=">= 0", baseline=Baseline("avg", 60))
    assert [each.value for each in run([above], log)] == [0.0]


@pytest.mark.parametrize("sweeping", [False, True])
def test_a_mean_beyond_all_numbers_is_still_no_data(sweeping: bool) -> None:
    log = _log([1.7e308] * 20)
    (began, ended) = run(
        [rule(aggregate="avg", window=5, when="> 1", lasting=9, no_data="ok")], log, sweeping=sweeping
    )
    assert (began.at, ended.at, ended.reason) == (T0, T0 + 1, "no_data")
