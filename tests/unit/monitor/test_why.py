"""The reason of an outcome in words says what is so: which condition breached, and which limit cleared it."""

from __future__ import annotations

import pytest

from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.language.conditions import parse_condition
from services.monitor.domain.language.rules import Check, Join
from tests.unit.monitor.engine_log import T0, rule, run
from tests.unit.monitor.reference import LogRecord, Point

ERRORS = Check("errors", "last", 300, parse_condition("> 0"))


def _outcomes(values: dict[int, tuple[float, float | None]], **more: object) -> list[Outcome]:
    """``m`` and ``errors`` of one component, by second."""
    records = [LogRecord(0, float(T0), clock=T0)]
    for offset, (second, (value, errors)) in enumerate(values.items(), start=1):
        points = [Point("m", "a", T0 + second, value)]
        if errors is not None:
            points.append(Point("errors", "a", T0 + second, errors))
        records.append(LogRecord(offset, float(T0 + second), tuple(points)))
    records.append(LogRecord(len(records), T0 + 35.0, clock=T0 + 35))
    made = rule(when="> 100", **more)  # type: ignore[arg-type]
    return run([made], records)


@pytest.mark.parametrize(
    ("join", "values", "words"),
    [
        ("any", (50, 1), "errors of a is 1 (> 0); m of a is 50 (not > 100)"),
        ("any", (120, 0), "m of a is 120 (> 100); errors of a is 0 (not > 0)"),
        ("any", (120, 1), "m of a is 120 (> 100) and errors of a is 1 (> 0)"),
        ("any", (120, None), "m of a is 120 (> 100); errors of a has no data"),
        ("all", (120, 1), "m of a is 120 (> 100) and errors of a is 1 (> 0)"),
    ],
)
def test_only_what_breached_is_said_to_breach(
    join: Join, values: tuple[float, float | None], words: str
) -> None:
    outcomes = _outcomes({10: values}, join=join, further=[ERRORS])
    assert [(one.reason, one.why.split(", breaching")[0]) for one in outcomes] == [("breach_began", words)]


def test_a_resolution_names_the_limit_that_cleared_it() -> None:
    values: dict[int, tuple[float, float | None]] = {10: (120, None), 20: (63, None), 30: (40, None)}
    _, resolved = _outcomes(values, clear="< 50")
    assert (resolved.at - T0, resolved.why) == (30, "m of a is 40, clear of > 100 at < 50")
    _, resolved = _outcomes(values)
    assert (resolved.at - T0, resolved.why) == (20, "m of a is 63, no longer > 100")


def test_between_names_both_limits() -> None:
    _, ended = _outcomes({10: (120, None), 12: (63, None)}, clear="< 50", lasting=20)
    assert (ended.reason, ended.why) == ("between", "m of a is 63 (neither > 100 nor < 50)")


def test_a_resolution_of_several_says_how_each_stands() -> None:
    outcomes = _outcomes({10: (120, 0), 20: (40, 0)}, clear="< 50", join="any", further=[ERRORS])
    assert outcomes[-1].why == "m of a is 40 (< 50) and errors of a is 0 (not > 0), no longer > 100 or > 0"
    outcomes = _outcomes({10: (120, 1), 20: (40, 1)}, join="all", further=[ERRORS])
    assert outcomes[-1].why == "errors of a is 1 (> 0); m of a is 40 (not > 100), no longer > 100 and > 0"


def test_the_end_of_a_quorum_does_not_say_that_this_second_is_clear() -> None:
    values: dict[int, tuple[float, float | None]] = {
        second: (120.0 if second < 14 else 40.0, None) for second in range(10, 24)
    }
    began, fired, resolved = _outcomes(values, lasting=6, quorum=3)
    assert (began.after, fired.after) == ("pending", "firing")
    assert resolved.why == "m of a is 40 (not > 100), no longer breaching for 3s of 6s"
