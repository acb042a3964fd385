"""Durations and conditions as operators write them."""

from __future__ import annotations

import pytest

from services.monitor.domain.language.conditions import parse_condition
from services.monitor.domain.language.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1h30m", 5_400), ("0s", 0), ("2d", 172_800)]
)
def test_durations_are_read_and_written(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 m", "5 minutes", "1.5s", "-5s", "m", "5m3h", "500ms", "9999d"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|year"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "holds", "fails"),
    [
        ("> 3000", 3_000.5, 3_000.0),
        (">= 3000", 3_000.0, 2_999.9),
        ("< 0.90", 0.89, 0.9),
        ("<=-1.5", -1.5, -1.4),
        ("== 0", 0.0, 0.1),
        ("!= 1e3", 0.0, 1_000.0),
    ],
)
def test_conditions(text: str, holds: float, fails: float) -> None:
    condition = parse_condition(text)
    assert condition.holds(holds)
    assert not condition.holds(fails)
    assert parse_condition(str(condition)) == condition


@pytest.mark.parametrize("text", ["", "3000", "=> 3", ">> 3", "> x", "> 1e999", "> nan", "~ 3", "> 3 ms"])
def test_other_texts_are_no_conditions(text: str) -> None:
    with pytest.raises(ValueError, match=r"operator|number"):
        parse_condition(text)


@pytest.mark.parametrize(
    ("when", "clear", "excludes"),
    [
        ("> 3", "< 3", True),
        ("> 3", "<= 3", True),
        (">= 3", "<= 3", False),
        ("> 3", "< 4", False),
        ("< 3", "> 2", False),
        ("< 3", ">= 3", True),
        ("> 3", "> 1", False),
        ("== 3", "< 1", False),
    ],
)
def test_a_clear_threshold_excludes_a_breach(when: str, clear: str, excludes: bool) -> None:
    assert parse_condition(clear).excludes(parse_condition(when)) is excludes
