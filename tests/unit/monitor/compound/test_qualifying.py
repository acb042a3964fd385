"""Cascades: along the dependencies, in their order, within the window."""

from __future__ import annotations

import pytest

from services.monitor.domain.compound.definitions import (
    Cascade,
    CompoundRule,
    Several,
    rule_from_definition,
)
from services.monitor.domain.compound.members import Member
from services.monitor.domain.compound.qualifying import qualify
from tests.unit.monitor.compound.members import T0, Firing, run, several, stage, told

DEPENDS_ON = (("answers", ("vectors", "chunks")), ("chunks", ("extraction",)), ("vectors", ("chunks",)))
CASCADE = Cascade(3, 60, DEPENDS_ON)


def _spread(**fired: int) -> tuple[str, ...] | None:
    members = [Member.of(Firing(c, T0 + at).event("fired", T0 + at)) for c, at in fired.items()]
    found = qualify(CASCADE, members)
    return None if found is None else tuple(member.component for member in found.members)


@pytest.mark.parametrize(
    ("fired", "expected"),
    [
        ({"extraction": 0, "chunks": 20, "vectors": 40}, ("extraction", "chunks", "vectors")),
        # Two that depend on the same one, and none on the other.
        ({"chunks": 0, "vectors": 10, "answers": 5}, ("chunks", "answers", "vectors")),
        # All in one second, whatever their names.
        ({"extraction": 0, "chunks": 0, "vectors": 0}, ("extraction", "chunks", "vectors")),
        # The one it depends on came after it.
        ({"extraction": 0, "chunks": 20, "vectors": 10}, None),
        # A link is missing.
        ({"extraction": 0, "vectors": 10, "answers": 20}, None),
        # Longer than the window, counted from the first.
        ({"extraction": 0, "chunks": 30, "vectors": 61}, None),
        # It goes on from a later one, though not from the first.
        ({"extraction": 0, "chunks": 50, "vectors": 70, "answers": 110}, ("chunks", "vectors", "answers")),
        # One that nothing ties to the others.
        ({"extraction": 0, "chunks": 1, "billing": 2}, None),
    ],
)
def test_a_failure_that_spreads(fired: dict[str, int], expected: tuple[str, ...] | None) -> None:
    assert _spread(**fired) == expected


def test_a_second_trigger_of_a_component_may_be_the_one_that_counts() -> None:
    firings = [
        Firing("chunks", T0),
        Firing("extraction", T0 + 100),
        Firing("chunks", T0 + 110, trigger="errors"),
        Firing("vectors", T0 + 120),
    ]
    events = [(float(e.at), e) for firing in firings for e in firing.events(T0 + 130)]
    (fired,) = run(stage(CompoundRule("cascade", CASCADE)), events, T0 + 130)
    assert (fired.reason, fired.at) == ("cascaded", T0 + 120)
    assert [part.name for part in fired.parts] == ["slow", "errors", "slow"]
    assert fired.why.startswith("a failure has spread over 3 components: slow of extraction since 00:01:40")


def test_a_cascade_ends_with_a_link_of_it() -> None:
    firings = [Firing("extraction", T0), Firing("chunks", T0 + 1, T0 + 30), Firing("vectors", T0 + 2)]
    events = [(float(e.at), e) for firing in firings for e in firing.events(T0 + 50)]
    assert told(run(stage(CompoundRule("cascade", CASCADE)), events, T0 + 50)) == [
        ("fired", T0 + 2),
        ("resolved", T0 + 30),
    ]


def test_the_earliest_members_of_the_earliest_window_qualify() -> None:
    members = [
        Member.of(Firing(component, T0 + at, trigger=trigger).event("fired", T0 + at))
        for component, at, trigger in (
            ("z", 0, "slow"),
            ("b", 100, "slow"),
            ("a", 100, "slow"),
            ("a", 90, "errors"),
            ("c", 101, "slow"),
            ("d", 102, "slow"),
        )
    ]
    found = qualify(Several(3, 60), members)
    assert found is not None
    assert [(m.trigger, m.component) for m in found.members] == [
        ("errors", "a"),
        ("slow", "b"),
        ("slow", "c"),
    ]
    assert found.components == 4
    assert qualify(Several(3, 60), reversed(members)) == found


def test_a_definition_is_made_again_from_its_values() -> None:
    for rule in (CompoundRule("cascade", CASCADE, immediate=True), several(severity="high")):
        again = rule_from_definition(rule.definition())
        assert again == rule
        assert again.hash == rule.hash
    other = CompoundRule("cascade", Cascade(3, 60, DEPENDS_ON[:2]))
    assert other.hash != CompoundRule("cascade", CASCADE).hash
