"""Triggers that look at releases, and limits on groups, over logs made for them: the engine agrees
with the reference, in any portions, over restarts, and swept."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.rules import BASELINE_AGGREGATES, DEFAULT_MAX_GROUPS, Baseline, Rule
from tests.unit.monitor.engine_log import T0, cut, rule, run, run_with_restarts, stored, told
from tests.unit.monitor.reference import LogRecord, Point, ReferenceEngine
from tests.unit.monitor.test_engine_properties import LATENESS, NO_DATA

PLENTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BASELINES = st.builds(Baseline, st.sampled_from(BASELINE_AGGREGATES), st.sampled_from([2, 8, 30, 150]))
ROUTES = st.sampled_from([(), (("route", "/1"),), (("route", "/2"),), (("route", "/3"),)])
PORTIONS = st.lists(st.integers(1, 50), max_size=12)


@st.composite
def rules(draw: st.DrawFn) -> list[Rule]:
    made = []
    for index in range(draw(st.integers(1, 2))):
        baseline = draw(st.one_of(BASELINES, st.none()))
        made.append(
            rule(
                f"rule{index}",
                aggregate=draw(st.sampled_from(["last", "avg", "p90"])),
                window=draw(st.sampled_from([1, 4, 10])),
                when=("> 0.4" if draw(st.booleans()) else "< -0.2") if baseline else "> 10",
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
            value = level * draw(st.sampled_from([1.0, 1.0, 1.1, 1.6]))
            point = Point("m", component, time, value, draw(ROUTES))
            records.append(LogRecord(len(records), now, (point,)))
        behind = draw(st.sampled_from([0.0, 0.0, 0.0, -2.5, 1.75, 6.0]))
        records.append(LogRecord(len(records), now, release=(component, now - behind)))
    return records


@PLENTY
@given(rules(), logs(), LATENESS, PORTIONS, PORTIONS)
def test_the_engine_agrees_with_the_reference_however_it_is_fed(
    of_rules: list[Rule], log: list[LogRecord], lateness: float, portions: list[int], restarts: list[int]
) -> None:
    reference = ReferenceEngine(of_rules, lateness)
    expected = [entry for record in log for entry in reference.feed(record)]
    whole = run(of_rules, log, lateness=lateness)
    assert told(whole) == expected
    assert run(of_rules, log, lateness=lateness, portions=portions) == whole
    assert run_with_restarts(of_rules, log, lateness=lateness, restarts=restarts) == whole
    assert run(of_rules, log, lateness=lateness, sweeping=True) == whole


@PLENTY
@given(rules(), logs(), LATENESS, PORTIONS)
def test_the_same_overflows_are_told(
    of_rules: list[Rule], log: list[LogRecord], lateness: float, portions: Sequence[int]
) -> None:
    reference = ReferenceEngine(of_rules, lateness)
    for record in log:
        reference.feed(record)
    engine = PartitionEngine(of_rules, allowed_lateness=lateness)
    found: dict[str, tuple[Group, int]] = {}
    for portion in cut([stored(record) for record in log], portions):
        engine.advance(Intake(engine.series).read(portion).columns)
        found.update((each.rule.name, (each.of, each.at)) for each in engine.overflows())
    assert found == reference.overflows
