"""Several conditions in a trigger: what their verdicts make together, and which samples breach."""

from __future__ import annotations

import itertools

import pytest

from services.monitor.domain.language.conditions import parse_condition
from services.monitor.domain.language.phases import Phase
from services.monitor.domain.language.rules import Check, Join, Rule
from tests.unit.monitor.engine_log import T0, rule, run
from tests.unit.monitor.reference import LogRecord, Point

VALUES: dict[str, float | None] = {"breach": 20.0, "between": 7.0, "clear": 1.0, "none": None}
PENDING_AFTER: dict[Join, dict[frozenset[str], bool]] = {
    "all": {
        frozenset({"breach"}): True,
        frozenset({"breach", "none"}): True,
        frozenset({"between", "none"}): True,
        frozenset({"none"}): True,
        frozenset({"between"}): False,
        frozenset({"breach", "between"}): False,
    },
    "any": {
        frozenset({"breach"}): True,
        frozenset({"breach", "none"}): True,
        frozenset({"breach", "between"}): True,
        frozenset({"breach", "clear"}): True,
        frozenset({"between", "none"}): True,
        frozenset({"clear", "none"}): True,
        frozenset({"none"}): True,
        frozenset({"between"}): False,
        frozenset({"between", "clear"}): False,
    },
}
"""Whether a pending breach outlasts a second of these verdicts: a breach, or no data, which is held."""


def _joined(join: Join, *, min_samples: int = 1, lasting: int = 60, window: int = 1) -> Rule:
    over_ten = parse_condition("> 10")
    second = Check("n", "last", window, over_ten, parse_condition("< 5"))
    return rule(
        when="> 10",
        clear="< 5",
        window=window,
        lasting=lasting,
        min_samples=min_samples,
        join=join,
        further=[second],
    )


def _phase_after(of: Rule, seconds: list[tuple[float | None, float | None]]) -> Phase:
    """The phase once the last of these seconds, each of one value of `m` and of `n`, was evaluated."""
    points = [
        Point(metric, "a", T0 + second, value)
        for second, values in enumerate(seconds)
        for metric, value in zip("mn", values, strict=True)
        if value is not None
    ]
    log = [LogRecord(offset, T0 + 1, (point,)) for offset, point in enumerate(points)]
    end = T0 + len(seconds) - 1
    phase: Phase = "inactive"
    for told in run([of], [*log, LogRecord(len(log), end + 2, clock=end + 2.0)], lateness=2.0):
        phase = told[4]
    return phase


@pytest.mark.parametrize("join", ["all", "any"])
def test_what_two_verdicts_make_of_a_pending_breach(join: Join) -> None:
    for names in itertools.product(VALUES, repeat=2):
        m, n = (VALUES[name] for name in names)
        lasts = PENDING_AFTER[join].get(frozenset(names), False)
        phase = _phase_after(_joined(join), [(20.0, 20.0), (m, n)])
        assert phase == ("pending" if lasts else "inactive"), names


def test_a_condition_that_does_not_breach_brings_no_breaching_sample() -> None:
    """The newest sample of `n` is held, but is no breaching one."""
    assert _phase_after(_joined("any", min_samples=2, lasting=0), [(20.0, 1.0)]) == "pending"
    assert _phase_after(_joined("any", min_samples=2, lasting=0), [(20.0, 20.0)]) == "firing"
