"""Few groups of a trigger on a ratio are looked at: nothing else comes of it than of looking at all."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.monitor.domain.engine import evaluation, ratio_groups
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.engine.ratio_groups import Found, RatioGroups
from services.monitor.domain.engine.shelves import Derived
from services.monitor.domain.language.rules import Baseline, Rule
from tests.unit.monitor.engine_log import T0, rule, run, run_with_restarts
from tests.unit.monitor.reference import LogRecord, Point
from tests.unit.monitor.test_engine_properties import LATENESS
from tests.unit.monitor.test_release_properties import dense_logs, rules, rules_on_values

PLENTY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
RESTARTS = st.lists(st.integers(1, 50), max_size=6)


def _screened(
    few: int, of_rules: Sequence[Rule], log: Sequence[LogRecord], lateness: float, restarts: Sequence[int]
) -> list[Outcome]:
    """The outcomes where ``few`` groups are few, second by second."""
    with patch.object(ratio_groups, "_FEW", few), patch.object(evaluation, "BLOCK", 1):
        return run_with_restarts(of_rules, log, lateness=lateness, restarts=restarts)


@PLENTY
@given(st.one_of(rules(), rules_on_values()), dense_logs(), LATENESS, RESTARTS)
def test_it_makes_no_difference(
    of_rules: list[Rule], log: list[LogRecord], lateness: float, restarts: list[int]
) -> None:
    assert _screened(0, of_rules, log, lateness, restarts) == run(of_rules, log, lateness=lateness)


def test_only_groups_that_breach_or_did_are_looked_at() -> None:
    """Of thirty routes one fails for some seconds after the release, and another one had no request."""
    worse = rule(
        metric="errors", to="requests", aggregate="sum", window=4, group_by=["route"], when="> 0.5",
        baseline=Baseline("p50", 60), keep=2,
    )  # fmt: skip
    log: list[LogRecord] = []
    for at in range(60):
        points = []
        for route in range(30):
            labels, time = (("route", f"/{route}"),), float(T0 + at)
            errors = 30.0 if route == 7 and 40 <= at < 45 else 1.0 + (at + route) % 2
            points.append(Point("errors", "a", time, errors, labels))
            points.append(Point("requests", "a", time, 0.0 if route == 9 else 100.0, labels))
        log.append(LogRecord(len(log), float(T0 + at), tuple(points)))
        if at == 29:
            log.append(LogRecord(len(log), T0 + 30.0, release=("a", T0 + 30.0)))
    every = range(1, len(log))
    looked_at: list[str] = []
    really_due = RatioGroups.due

    def due(groups: RatioGroups, found: Found, is_open: bool) -> list[Derived]:
        chosen = list(really_due(groups, found, is_open))
        looked_at.extend(str(derived.instance.of) for derived in chosen)
        return chosen

    with patch.object(RatioGroups, "due", due):
        outcomes = run([worse], log, portions=every)
    assert outcomes == run([worse], log)
    assert [each.after for each in outcomes if each.is_transition] == ["firing", "inactive"]
    assert set(looked_at) == {"a, route '/7'"}
    assert len(looked_at) < 20
