"""The order in which different components' announcements arrive decides nothing.

Each announcement comes after its own second by a delay of its own, up to the lateness. Whatever the
delays, the same is told, under the same ids, at the same seconds; and it is what a look at every second
finds. A restart at any record changes nothing of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.monitor.domain.compound.definitions import Cascade, CompoundRule
from services.monitor.domain.compound.member_stage import MemberStage
from services.monitor.domain.compound.members import MemberEvent
from services.monitor.domain.compound.outcomes import CompoundOutcome
from tests.unit.monitor.compound.members import (
    T0,
    Firing,
    ids,
    reference_several,
    run,
    several,
    stage,
)

LATENESS = 10
END = T0 + 400
SEEDS = st.integers(0, 2**32)
COMPONENTS = ("a", "b", "c", "d", "e")
CASCADE = CompoundRule("cascade", Cascade(3, 45, (("b", ("a",)), ("c", ("b",)), ("d", ("b", "a")))))
RULES = (several(3, 40), several(2, 0, name="at_once"), CASCADE)


@st.composite
def firings(draw: st.DrawFn) -> list[Firing]:
    """Members whose breaches do not overlap, two triggers a component."""
    found = []
    for component in COMPONENTS:
        for trigger in ("slow", "errors"):
            at = T0
            for _ in range(draw(st.integers(0, 2))):
                begin = at + draw(st.integers(0, 90))
                end = draw(st.none() | st.integers(begin + 1, begin + 150))
                found.append(Firing(component, begin, end, trigger))
                if end is None:
                    break
                at = end + 1
    return found


def chance_of(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - delays of a test, no secrets


def _arrivals(
    chance: Random, members: Sequence[Firing], *, announced: bool = True
) -> list[tuple[float, MemberEvent]]:
    """Each event some seconds after its own, less than the lateness, in the order of arrival."""
    events = [event for firing in members for event in firing.events(END, announced=announced)]
    arrivals = [(event.at + chance.uniform(0, LATENESS - 1), event) for event in events]
    return sorted(arrivals, key=lambda entry: entry[0])


def _told(outcomes: Sequence[CompoundOutcome]) -> set[tuple[object, ...]]:
    return {(o.trigger_id, o.kind, o.at, o.parts, o.value, o.reason) for o in outcomes}


@settings(max_examples=80, deadline=None)
@given(firings(), SEEDS)
def test_the_same_is_told_whatever_the_order_of_arrival(members: list[Firing], seed: int) -> None:
    in_order = [(float(e.at), e) for firing in members for e in firing.events(END)]
    expected = run(stage(*RULES), in_order, END)
    arrived = run(subject := stage(*RULES), _arrivals(chance_of(seed), members), END)
    assert _told(arrived) == _told(expected)
    assert len(arrived) == len(expected)
    assert subject.late == 0


@settings(max_examples=80, deadline=None)
@given(firings(), SEEDS)
def test_it_is_what_a_look_at_every_second_finds(members: list[Firing], seed: int) -> None:
    outcomes = run(stage(several(3, 40)), _arrivals(chance_of(seed), members), END)
    found = [
        (o.kind, o.at, frozenset(part.id for part in o.episode.parts)) for o in outcomes if o.is_transition
    ]
    assert found == reference_several(3, 40, members, range(T0, END + 1))
    assert len(ids(outcomes)) == len(outcomes)


@settings(max_examples=60, deadline=None)
@given(firings(), SEEDS)
def test_a_backtest_that_knows_only_the_transitions_finds_the_same(members: list[Firing], seed: int) -> None:
    live = run(stage(*RULES), _arrivals(chance_of(seed), members), END)
    backtest = stage(*RULES, heard_within=None)
    known = run(backtest, _arrivals(chance_of(seed), members, announced=False), END)
    assert _told([o for o in known if o.is_transition]) == _told([o for o in live if o.is_transition])


@settings(max_examples=60, deadline=None)
@given(firings(), SEEDS)
def test_restarts_and_the_clock_change_nothing(members: list[Firing], seed: int) -> None:
    chance = chance_of(seed)
    arrivals = _arrivals(chance, members)
    expected = run(stage(*RULES), arrivals, END)
    subject = stage(*RULES)
    outcomes: list[CompoundOutcome] = []
    for arrival, event in arrivals:
        if chance.random() < 0.5:
            subject = _restarted(subject)
        if chance.random() < 0.5:
            # Time as the clock shows it just before the record is there.
            outcomes += subject.pass_time(arrival)
        outcomes += subject.take(event, arrival)
    outcomes += subject.advance(END)
    assert _told(outcomes) == _told(expected)
    assert len(outcomes) == len(expected)


@settings(max_examples=60, deadline=None)
@given(firings(), SEEDS)
def test_late_ones_lose_nothing_that_lasts(members: list[Firing], seed: int) -> None:
    """However late (those of one component in their order): what still holds once all is known is
    firing, and each id is told once."""
    chance = chance_of(seed)
    arrivals: list[tuple[float, MemberEvent]] = []
    for component in COMPONENTS:
        events = [e for firing in members if firing.component == component for e in firing.events(END)]
        at = 0.0
        for event in sorted(events, key=lambda e: e.at):
            at = max(at, event.at + chance.uniform(0, 300))
            arrivals.append((at, event))
    subject = stage(several(3, 40), heard_within=None)
    outcomes = run(subject, arrivals, END)
    holds = reference_several(3, 40, members, range(END, END + 1))
    assert bool(subject.episodes) == bool(holds)
    fired = [o.trigger_id for o in outcomes if o.kind == "fired"]
    assert len(ids(outcomes)) == len(outcomes)
    assert len(fired) - len([o for o in outcomes if o.kind == "resolved"]) == len(subject.episodes)


def _restarted(former: MemberStage) -> MemberStage:
    again = stage(*RULES)
    assert not again.recall(
        evaluated=former.evaluated,
        shown=former.shown,
        members=former.members.values(),
        episodes=former.episodes.values(),
    )
    return again
