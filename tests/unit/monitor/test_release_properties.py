"""Triggers that look at releases, and limits on groups, over logs made for them: the engine agrees
with the reference, in any portions, over restarts, and swept."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.language.aggregates import AGGREGATES, BASELINE_AGGREGATES, TRAITS, Aggregate
from services.monitor.domain.language.conditions import parse_condition
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.rules import DEFAULT_MAX_GROUPS, Baseline, Check, Rule
from services.monitor.domain.measuring import baselines, drawn_past
from tests.unit.monitor.engine_log import (
    T0,
    cut,
    fed,
    fed_with_restarts,
    rule,
    run,
    run_with_restarts,
    stored,
    told,
)
from tests.unit.monitor.reference import LogRecord, Point, ReferenceEngine, Told
from tests.unit.monitor.test_engine_properties import LATENESS, NO_DATA

PLENTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BASELINES = st.builds(Baseline, st.sampled_from(BASELINE_AGGREGATES), st.sampled_from([2, 8, 30, 150]))
COMPARED = [name for name in AGGREGATES if not TRAITS[name].is_relative]
WHEN_COMPARED = st.sampled_from(["> 0.4", "< -0.2"])
CHECKS = st.builds(
    Check,
    metric=st.just("m"),
    aggregate=st.sampled_from(COMPARED),
    window=st.sampled_from([4, 10]),
    when=WHEN_COMPARED.map(parse_condition),
    to=st.sampled_from([None, "n"]),
    baseline=st.one_of(BASELINES, BASELINES, st.none()),
)
ROUTES = st.sampled_from([(), (("route", "/1"),), (("route", "/2"),), (("route", "/3"),)])
SHOWN = ["mk", "mk", "mk", "m", "k", "mmk"]
PORTIONS = st.lists(st.integers(1, 50), max_size=12)


@st.composite
def rules(draw: st.DrawFn) -> list[Rule]:
    made = []
    for index in range(draw(st.integers(1, 2))):
        baseline = draw(st.one_of(BASELINES, st.none()))
        made.append(
            rule(
                f"rule{index}",
                metric=draw(st.sampled_from(["m", "m", "n"])),
                aggregate=draw(st.sampled_from(COMPARED)),
                window=draw(st.sampled_from([1, 4, 10])),
                when=draw(WHEN_COMPARED if baseline else st.just("> 10")),
                to=draw(st.sampled_from([None, None, "k"])),
                join=draw(st.sampled_from(["all", "any"])),
                further=draw(st.one_of(st.just([]), st.lists(CHECKS, max_size=2))),
                lasting=draw(st.sampled_from([0, 0, 2, 4])),
                keep=draw(st.sampled_from([0, 0, 3])),
                no_data=draw(st.sampled_from(NO_DATA)),
                quorum=None,
                group_by=draw(st.sampled_from([(), ("route",)])),
                baseline=baseline,
                only_within=draw(st.sampled_from([None, 3, 12, 40] if baseline else [3, 12, 40])),
                max_groups=draw(st.sampled_from([DEFAULT_MAX_GROUPS, 1, 2])),
            )
        )
    return made


@st.composite
def logs(draw: st.DrawFn) -> list[LogRecord]:
    """A level for some seconds, a release, another level: again and again, with late words of both."""
    now, records = float(T0), list[LogRecord]()
    for _ in range(draw(st.integers(1, 4))):
        level = draw(st.sampled_from([5.0, 10.0, 20.0, 0.0, -10.0]))
        component = draw(st.sampled_from("aab"))
        for _ in range(draw(st.integers(2, 10))):
            now += draw(st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 60.0]))
            time = now - draw(st.sampled_from([0.0, 0.0, 0.0, 0.25, 3.0, 9.0]))
            value = level * draw(st.sampled_from([1.0, 1.0, 1.125, 1.625]))
            labels = draw(ROUTES)
            points = [Point("m", component, time, value, labels)]
            if draw(st.booleans()):
                points += [Point("n", component, time, value * 0.5 + 1.0, labels)]
                points += [Point("k", component, time, draw(st.sampled_from([1.0, 4.0])), labels)]
            records.append(LogRecord(len(records), now, tuple(points)))
        behind = draw(st.sampled_from([0.0, 0.0, 0.0, -2.5, 1.75, 6.0]))
        records.append(LogRecord(len(records), now, release=(component, now - behind)))
    return records


@PLENTY
@given(rules(), logs(), LATENESS, PORTIONS, PORTIONS)
def test_the_engine_agrees_with_the_reference_however_it_is_fed(
    of_rules: list[Rule], log: list[LogRecord], lateness: float, portions: list[int], restarts: list[int]
) -> None:
    reference = ReferenceEngine(of_rules, lateness)
    expected = reference.run(log)
    whole = run(of_rules, log, lateness=lateness)
    assert told(whole) == expected
    assert run(of_rules, log, lateness=lateness, portions=portions) == whole
    assert run_with_restarts(of_rules, log, lateness=lateness, restarts=restarts) == whole
    assert run(of_rules, log, lateness=lateness, sweeping=True) == whole


@st.composite
def rules_on_values(draw: st.DrawFn) -> list[Rule]:
    """Triggers whose values, and not samples, are what is compared."""
    made = []
    for index in range(draw(st.integers(1, 3))):
        to = draw(st.sampled_from([None, "k", "k"]))
        aggregates: list[Aggregate] = ["sum", "rate", "count"] if to is None else list(AGGREGATES)
        aggregate = draw(st.sampled_from([each for each in aggregates if each in COMPARED]))
        made.append(
            rule(
                f"rule{index}",
                aggregate=aggregate,
                window=draw(st.sampled_from([1, 2, 5, 20])),
                to=to,
                when=draw(WHEN_COMPARED),
                baseline=draw(BASELINES),
            )
        )
    return made


@st.composite
def dense_logs(draw: st.DrawFn) -> list[LogRecord]:
    """A sample of each metric in most seconds, some of them late or out of order, and a release now and
    then."""
    records, values = list[LogRecord](), st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0])
    for at in range(draw(st.integers(8, 60))):
        now = float(T0 + at)
        behind = draw(st.sampled_from([0.0, 0.0, 0.0, 0.5, 2.0, 7.0, 20.0]))
        points = [
            Point(metric, "a", now - behind - draw(st.sampled_from([0.0, 0.0, 0.25, 0.75])), draw(values))
            for metric in draw(st.sampled_from(SHOWN))
        ]
        records.append(LogRecord(len(records), now, tuple(points)))
        if draw(st.integers(0, 9)) == 0:
            release = ("a", now - draw(st.sampled_from([0.0, 0.0, 0.5, 3.0, 30.0])))
            records.append(LogRecord(len(records), now, release=release))
    return records


def _figures(engine: PartitionEngine) -> dict[tuple[str, Group], list[float | None]]:
    instances = engine.series.instances()
    known = {(each.rule.name, each.of): list(each.figures) for each in instances}
    return {key: figures for key, figures in known.items() if any(figures)}


@PLENTY
@given(rules_on_values(), dense_logs(), LATENESS, PORTIONS, PORTIONS)
def test_values_before_a_release_are_those_of_the_reference(
    of_rules: list[Rule], log: list[LogRecord], lateness: float, portions: list[int], restarts: list[int]
) -> None:
    reference = ReferenceEngine(of_rules, lateness)
    expected = reference.run(log)
    engine, whole = fed(of_rules, log, lateness=lateness, portions=portions)
    figures = _figures(engine)
    # What a deviation was may be some roundings off.
    assert [_rounded(each) for each in told(whole)] == [_rounded(each) for each in expected]
    assert {key: pytest.approx(known) for key, known in reference.baselines.items() if any(known)} == figures
    engine, again = fed_with_restarts(of_rules, log, lateness=lateness, restarts=restarts)
    assert (again, _figures(engine)) == (whole, figures)
    engine, swept = fed(of_rules, log, lateness=lateness, sweeping=True)
    assert (swept, _figures(engine)) == (whole, figures)


def _rounded(each: Told) -> tuple[object, ...]:
    value = each[7]
    return (*each[:7], value if value is None else pytest.approx(value), *each[8:])


@PLENTY
@given(rules_on_values(), dense_logs(), LATENESS, PORTIONS, PORTIONS)
def test_a_draw_is_the_same_in_every_replay(
    of_rules: list[Rule], log: list[LogRecord], lateness: float, portions: list[int], restarts: list[int]
) -> None:
    """With room for so few samples that most are left out."""
    with patch.object(baselines, "PER_CELL", 2), patch.object(drawn_past, "PER_CELL", 2):
        engine, whole = fed(of_rules, log, lateness=lateness)
        figures = _figures(engine)
        engine, again = fed(of_rules, log, lateness=lateness, portions=portions)
        assert (again, _figures(engine)) == (whole, figures)
        engine, again = fed_with_restarts(of_rules, log, lateness=lateness, restarts=restarts)
        assert (again, _figures(engine)) == (whole, figures)
        engine, again = fed(of_rules, log, lateness=lateness, sweeping=True)
        assert (again, _figures(engine)) == (whole, figures)


@PLENTY
@given(rules(), logs(), LATENESS, PORTIONS)
def test_the_same_overflows_are_told(
    of_rules: list[Rule], log: list[LogRecord], lateness: float, portions: Sequence[int]
) -> None:
    reference = ReferenceEngine(of_rules, lateness)
    reference.run(log)
    engine = PartitionEngine(of_rules, allowed_lateness=lateness)
    found: dict[str, tuple[Group, int]] = {}
    for portion in cut([stored(record) for record in log], portions):
        engine.advance(Intake(engine.series).read(portion).columns)
        found.update((each.rule.name, (each.of, each.at)) for each in engine.overflows())
    assert found == reference.overflows
