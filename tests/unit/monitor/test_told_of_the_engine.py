"""What the engine tells of its instances: those that changed, how many there are, and their phases."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.engine.memory import read_remembered, state_key
from services.monitor.domain.language.rules import Rule
from tests.unit.monitor.engine_log import T0, cut, rule, stored
from tests.unit.monitor.reference import LogRecord, Point
from tests.unit.monitor.test_engine_properties import logs, rules

portions = st.lists(st.integers(1, 24), max_size=24)


@given(rules(), logs(), portions)
def test_the_states_that_changed_add_up_to_all_of_them(
    of_rules: list[Rule], log: list[LogRecord], ends: list[int]
) -> None:
    engine = PartitionEngine(of_rules, allowed_lateness=0.0)
    intake = Intake(engine.series)
    states: dict[bytes, bytes] = {}
    for portion in cut([stored(record) for record in log], ends):
        engine.advance(intake.read(portion).columns)
        for key, value in engine.changes().items():
            states.pop(key, None)
            if value is not None:
                states[key] = value
    found = {key: value for key, value in states.items() if key.startswith(b"state/")}
    assert found == {
        state_key(each.rule.name, each.of): each.remembered().to_bytes()
        for each in engine.series.instances()
        if each.must_be_remembered
    }
    assert all(read_remembered(value).rule in of_rules for value in found.values())
    assert engine.changes() == {}


@given(rules(), logs())
def test_groups_and_phases_are_those_of_the_instances(of_rules: list[Rule], log: list[LogRecord]) -> None:
    engine = PartitionEngine(of_rules, allowed_lateness=0.0)
    engine.advance(Intake(engine.series).read([stored(record) for record in log]).columns)
    counts = Counter({each.name: count for each, count in engine.group_counts()})
    assert counts == Counter(each.name for each, _ in engine.groups())
    instances = list(engine.series.instances())
    active = Counter(each.state.phase for each in instances if each.state.phase != "inactive")
    assert Counter(phase for _, phase in engine.phases() if phase != "inactive") == active


def test_a_state_is_told_of_once() -> None:
    engine = PartitionEngine([rule(lasting=60)], allowed_lateness=0.0)
    intake = Intake(engine.series)
    for at in (0, 1):
        record = LogRecord(at, float(T0 + at), points=(Point("m", "c", time=float(T0 + at), value=20.0),))
        engine.advance(intake.read([stored(record)]).columns)
    assert b"state/slow/c" in engine.changes()
    assert b"state/slow/c" not in engine.changes()
