"""A trigger has at most so many groups: which ones depends on the log alone, and it is told once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.domain.engine.admission import SEGMENT, Admission, Overflow, _digest, read_admitted
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.rules import Rule
from tests.unit.monitor.engine_log import T0, cut, recall, rule, stored
from tests.unit.monitor.reference import LogRecord, Point


def _admitted(admission: Admission, states: dict[bytes, bytes]) -> dict[bytes, bytes]:
    states.update((key, value) for key, value in admission.changes().items() if value is not None)
    return states


def _recalled(limited: Rule, states: dict[bytes, bytes]) -> Admission:
    admission = Admission([limited])
    assert admission.recall(read_admitted(value) for value in states.values()) == []
    return admission


class TestRemembering:
    LIMITED = rule(max_groups=2 * SEGMENT + 1)

    def test_a_new_group_rewrites_one_segment(self) -> None:
        admission, states = Admission([self.LIMITED]), {}
        for number in range(SEGMENT + 1):
            assert admission.admits(self.LIMITED, Group(f"c{number}"), T0)
        assert set(_admitted(admission, states)) == {b"groups/slow/0", b"groups/slow/1"}
        assert admission.admits(self.LIMITED, Group("one more"), T0)
        assert set(admission.changes()) == {b"groups/slow/1"}
        assert admission.changes() == {}

    def test_whoever_takes_over_admits_the_same_and_tells_nothing_again(self) -> None:
        admission, states = Admission([self.LIMITED]), {}
        for number in range(2 * SEGMENT + 2):
            admission.admits(self.LIMITED, Group(f"c{number}"), T0 + number)
            if number % 700 == 0:
                admission = _recalled(self.LIMITED, _admitted(admission, states))
        last = Group(f"c{2 * SEGMENT + 1}")
        assert admission.overflows() == [Overflow(self.LIMITED, last, T0 + 2 * SEGMENT + 1)]
        after = _recalled(self.LIMITED, _admitted(admission, states))
        assert after.admits(self.LIMITED, Group("c0"), T0)
        assert not after.admits(self.LIMITED, last, T0)
        assert after.overflows() == []
        assert after.overflowed() == [self.LIMITED]
        assert after.is_settled_against(self.LIMITED, last)
        assert not after.is_settled_against(self.LIMITED, Group("c1"))

    def test_another_definition_counts_anew_and_the_old_states_go(self) -> None:
        admission, states = Admission([self.LIMITED]), {}
        admission.admits(self.LIMITED, Group("a"), T0)
        changed = Admission([rule(max_groups=1)])
        obsolete = changed.recall(read_admitted(value) for value in _admitted(admission, states).values())
        assert obsolete == [b"groups/slow/0"]
        assert changed.admits(rule(max_groups=1), Group("b"), T0)


LIMITED = rule(max_groups=2, group_by=["route"])
WIDE = rule("wide", metric="n", max_groups=3)


def _point(metric: str, component: str, at: float, route: str = "") -> Point:
    labels = (("route", route),) if route else ()
    return Point(metric, component, T0 + at, 20.0, labels)


def _log() -> list[LogRecord]:
    points = [
        _point("n", "a", 0),
        _point("m", "a", 0, "/1"),
        _point("m", "a", 99, "/future"),
        _point("m", "a", 1, "/2"),
        _point("n", "b", 1),
        _point("m", "a", 2, "/3"),
        _point("m", "a", 3, "/1"),
        _point("m", "b", 3, "/1"),
        _point("n", "c", 4),
        _point("n", "d", 5),
        _point("m", "a", 6, "/2"),
    ]
    return [LogRecord(n, min(point.time, T0 + 6.0), (point,)) for n, point in enumerate(points)]


def _run(
    rules: Sequence[Rule], log: Sequence[LogRecord], portions: Sequence[int], *, restarts: bool
) -> tuple[set[tuple[str, Group]], list[Overflow]]:
    """The groups that fired, and the overflows told."""
    engine = PartitionEngine(rules, allowed_lateness=0.0)
    fired, overflows, states = set(), [], {}
    records = [stored(record) for record in log]
    for portion in cut(records, portions):
        outcomes = engine.advance(Intake(engine.series).read(portion).columns)
        fired |= {(outcome.rule.name, outcome.of) for outcome in outcomes}
        overflows += engine.overflows()
        if restarts:
            for key, value in engine.changes().items():
                states.update({key: value} if value is not None else {})
            checkpoint = engine.checkpoint(portion[-1].offset + 1, partitions=1)
            engine = PartitionEngine(rules, allowed_lateness=0.0)
            recall(engine, checkpoint, states)
            again = [r for r in records if checkpoint.replay_from <= r.offset < checkpoint.next_offset]
            engine.replay(Intake(engine.series).read(again).columns)
    return fired, overflows


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("portions", [[], range(1, 11), [4, 7]])
def test_the_first_groups_of_the_log_are_evaluated(portions: Sequence[int], restarts: bool) -> None:
    """A sample that is set aside shows no group; nor do the portions change the order."""
    fired, overflows = _run([LIMITED, WIDE], _log(), portions, restarts=restarts)
    routes = [Group("a", (("route", name),)) for name in ("/1", "/2", "/3")]
    assert fired == {
        *(("slow", of) for of in routes[:2]),
        *(("wide", Group(component)) for component in "abc"),
    }
    assert overflows == [Overflow(LIMITED, routes[2], T0 + 2), Overflow(WIDE, Group("d"), T0 + 5)]


def test_refused_series_take_no_memory() -> None:
    engine = PartitionEngine([LIMITED], allowed_lateness=0.0)
    intake = Intake(engine.series)
    for at in range(50):
        points = tuple(_point("m", "a", at, f"/{at}/{number}") for number in range(20))
        engine.advance(intake.read([stored(LogRecord(at, T0 + at, points))]).columns)
    assert len(list(engine.series.instances())) == 2
    assert len(engine.series.names()) == 20


@given(st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=3))
def test_a_group_keeps_its_digest(component: str, labels: list[tuple[str, str]]) -> None:
    """It is in states that are older than the program: of the group as json.dumps writes it."""
    group = Group(component, tuple(labels))
    text = json.dumps([component, [[name, value] for name, value in labels]], separators=(",", ":"))
    assert _digest(group) == hashlib.sha256(text.encode()).digest()[:8]
