"""A bank with many rows looks at the lanes of few of them alone: nothing else comes of it than of
looking at all."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.language.aggregates import AGGREGATES, Aggregate
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring import lane_bank
from services.monitor.domain.measuring.registry import REGISTRY, measure_of
from services.monitor.domain.measuring.value_past import Moments
from services.monitor.domain.measuring.windows import Floats, Visible
from tests.unit.monitor.engine_log import T0, rule, run
from tests.unit.monitor.reference import LogRecord, Point
from tests.unit.monitor.test_engine_properties import logs, rules

PORTIONS = st.lists(st.integers(1, 24), max_size=24)


def _with(
    many: int, of_rules: Sequence[Rule], log: Sequence[LogRecord], cuts: Sequence[int]
) -> list[Outcome]:
    """The outcomes, where ``many`` rows are many, and any that are not all are few."""
    with patch.multiple(lane_bank, _MANY_ROWS=many, _FEW=1):
        return run(of_rules, log, portions=cuts)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rules(), logs(), PORTIONS)
def test_it_makes_no_difference(of_rules: list[Rule], log: list[LogRecord], cuts: list[int]) -> None:
    assert _with(1, of_rules, log, cuts) == run(of_rules, log)


@pytest.mark.parametrize("aggregate", [name for name in AGGREGATES if measure_of(name) is not None])
@pytest.mark.parametrize("sign", [">=", "<="])
def test_few_of_many_groups_breach(aggregate: Aggregate, sign: str) -> None:
    """60 components, whose values reach the threshold now and then, in blocks of several lengths."""
    chance = np.random.default_rng(len(aggregate))
    log = []
    for offset in range(1_500):
        at = T0 + offset / 10
        value = float(chance.choice([1.0, 5.0, 9.0, 30.0], p=[0.5, 0.4, 0.09, 0.01]))
        if sign == "<=":
            value = 10.0 - value
        component = f"c{chance.integers(60):02d}"
        late = float(chance.choice([0.0, 0.0, 0.0, 4.0]))
        log.append(LogRecord(offset, at, (Point("m", component, at - late, value, ()),)))
    low, middle, high = np.quantile(_values(aggregate, log), [0.02, 0.5, 0.98]).tolist()
    when, clear = {">=": (f">= {high}", f"< {middle}"), "<=": (f"<= {low}", f"> {middle}")}[sign]
    of_rules = [
        rule("wide", aggregate=aggregate, window=20, when=when, clear=clear, lasting=1, keep=2),
        rule("narrow", aggregate=aggregate, window=3, when=when, lasting=0),
    ]
    cuts = [3, 4, 90, 400, 410, 800, 1_200]
    whole = run(of_rules, log)
    assert whole
    assert _with(1, of_rules, log, cuts) == _with(10**9, of_rules, log, cuts) == whole


def _values(aggregate: Aggregate, log: Sequence[LogRecord]) -> Floats:
    """The values of every component's windows, 20 seconds long, of which some are rare."""
    points = [record.points[0] for record in log]
    components = sorted({point.component for point in points})
    row = np.array([components.index(point.component) for point in points])
    time = np.array([point.time for point in points])
    second = np.ceil(time).astype(np.int64)
    value = np.array([point.value for point in points])
    samples = Visible(row, second, second, time, value, np.arange(len(points)))
    past = REGISTRY[aggregate].past(20, 170)
    past.add(samples)
    newest = np.full(len(components), T0 + 149)
    values = past.values_at(np.arange(len(components)), Moments(newest, step=1, count=150, window=20))
    found: Floats = values[np.isfinite(values)]
    return found
