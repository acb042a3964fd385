"""Several components together: when it fires, when it is over, and what silence means."""

from __future__ import annotations

import pytest

from services.monitor.domain.compound.definitions import MemberFilter
from services.monitor.domain.compound.members import MemberEvent
from tests.unit.monitor.compound.members import FOR, T0, Firing, ids, run, several, stage, told


def _arrivals(*firings: Firing, through: int, delay: float = 3) -> list[tuple[float, MemberEvent]]:
    return [(event.at + delay, event) for firing in firings for event in firing.events(through)]


def test_three_components_within_the_window_fire_once() -> None:
    firings = [Firing("a", T0), Firing("b", T0 + 20), Firing("c", T0 + 60)]
    outcomes = run(stage(several()), _arrivals(*firings, through=T0 + 100), T0 + 100)
    assert told(outcomes) == [("fired", T0 + 60)]
    (fired,) = outcomes
    assert fired.trigger_id.startswith("several:full_system-")
    assert fired.trigger_id.endswith(":20260101T000000Z")
    assert [part.id for part in fired.parts] == [firing.trigger_id for firing in firings]
    assert (fired.value, fired.episode.began) == (3, T0)
    assert "slow of b since 00:00:20 UTC" in fired.why


def test_a_second_more_than_the_window_is_too_much() -> None:
    firings = [Firing("a", T0), Firing("b", T0 + 20), Firing("c", T0 + 61)]
    assert run(stage(several()), _arrivals(*firings, through=T0 + 300), T0 + 300) == []


def test_two_triggers_of_one_component_count_once() -> None:
    firings = [Firing("a", T0), Firing("a", T0 + 1, trigger="errors"), Firing("b", T0 + 2)]
    assert run(stage(several()), _arrivals(*firings, through=T0 + 100), T0 + 100) == []


def test_one_that_is_resolved_when_the_last_fires_does_not_count() -> None:
    firings = [Firing("a", T0, T0 + 30), Firing("b", T0 + 20), Firing("c", T0 + 30)]
    assert run(stage(several()), _arrivals(*firings, through=T0 + 100), T0 + 100) == []


def test_only_members_that_are_selected_count() -> None:
    rule = several(members=MemberFilter(("slow",), ("high", "critical")))
    two = [Firing("a", T0), Firing("b", T0, severity="high")]
    for third in (Firing("c", T0, severity="medium"), Firing("c", T0, trigger="errors")):
        assert run(stage(rule), _arrivals(*two, third, through=T0 + 100), T0 + 100) == []
    assert run(stage(rule), _arrivals(*two, Firing("c", T0), through=T0 + 100), T0 + 50)


def test_it_is_announced_each_minute_and_resolved_when_too_few_are_left() -> None:
    firings = [Firing("a", T0), Firing("b", T0, T0 + 150), Firing("c", T0), Firing("d", T0 + 500)]
    outcomes = run(stage(several()), _arrivals(*firings, through=T0 + 300), T0 + 300)
    assert [(outcome.kind, outcome.at - T0) for outcome in outcomes] == [
        ("fired", 0),
        ("firing", 60),
        ("firing", 120),
        ("resolved", 150),
    ]
    assert len({outcome.trigger_id for outcome in outcomes}) == 1
    assert outcomes[-1].value == 2


def test_another_member_within_the_window_keeps_it_going_under_its_id() -> None:
    firings = [Firing("a", T0), Firing("b", T0, T0 + 50), Firing("c", T0), Firing("d", T0 + 40, T0 + 170)]
    outcomes = run(stage(several()), _arrivals(*firings, through=T0 + 300), T0 + 300)
    assert told(outcomes) == [("fired", T0), ("resolved", T0 + 170)]


def test_fired_anew_it_is_another_episode() -> None:
    firings = [Firing("a", T0), Firing("b", T0), Firing("c", T0, T0 + 20), Firing("c", T0 + 30)]
    outcomes = run(stage(several()), _arrivals(*firings, through=T0 + 50), T0 + 50)
    assert told(outcomes) == [("fired", T0), ("resolved", T0 + 20), ("fired", T0 + 30)]
    assert outcomes[0].trigger_id == outcomes[1].trigger_id != outcomes[2].trigger_id


def test_it_is_decided_after_the_lateness_by_records_or_by_the_clock() -> None:
    subject = stage(several())
    for firing in (Firing("a", T0), Firing("b", T0), Firing("c", T0 + 5)):
        assert subject.take(firing.event("fired", firing.fired), T0 + 8.5) == []
    assert subject.due == pytest.approx(T0 + 8.5 + 5)
    assert subject.pass_time(T0 + 13.4) == []
    assert subject.due == pytest.approx(T0 + 8.5 + 10)
    assert subject.pass_time(T0 + 18.4) == []
    assert told(subject.pass_time(T0 + 18.5)) == [("fired", T0 + 5)]
    assert subject.due == pytest.approx(T0 + 8.5 + 10 + 60)


def test_what_comes_late_counts_from_the_next_second_on_and_keeps_the_id() -> None:
    subject = stage(several())
    run(subject, _arrivals(Firing("a", T0), Firing("b", T0 + 1), through=T0 + 2), T0 + 30)
    late = Firing("c", T0 + 2)
    assert subject.take(late.event("fired", T0 + 2), T0 + 45) == []
    assert subject.late == 1
    (fired,) = subject.advance(T0 + 31)
    assert told([fired]) == [("fired", T0 + 31)]
    assert fired.episode.began == T0
    # Earlier than any of its members, and later than the decision: the id stays.
    subject.take(Firing("d", T0 - 5).event("fired", T0 - 5), T0 + 46)
    assert {outcome.trigger_id for outcome in subject.advance(T0 + 100)} == {fired.trigger_id}


def test_a_late_end_ends_it_from_the_next_second_on() -> None:
    subject = stage(several())
    firings = [Firing("a", T0), Firing("b", T0), Firing("c", T0)]
    run(subject, _arrivals(*firings, through=T0), T0 + 50)
    subject.take(firings[0].event("resolved", T0 + 20), T0 + 70)
    assert told(subject.advance(T0 + 51)) == [("resolved", T0 + 51)]


def test_who_is_silent_keeps_it_from_being_resolved_and_is_not_announced_as_live() -> None:
    subject = stage(several())
    firings = [Firing("a", T0), Firing("b", T0), Firing("c", T0)]
    arrivals = _arrivals(*firings[:2], through=T0 + 600) + _arrivals(firings[2], through=T0 + 60)
    outcomes = run(subject, arrivals, T0 + 600)
    assert [outcome.at - T0 for outcome in outcomes] == [0, 60, 120, 180, 240]
    # Heard of again, it is live.
    subject.take(firings[2].event("no_data", T0 + 660), T0 + 663)
    for firing in firings[:2]:
        subject.take(firing.event("firing", T0 + 660), T0 + 663)
    assert [(o.kind, o.at - T0) for o in subject.advance(T0 + 670)] == [("firing", 660)]


def test_who_is_silent_makes_nothing_fire_until_heard_of() -> None:
    subject = stage(several(window=3_600))
    old = [Firing("a", T0), Firing("b", T0)]
    assert run(subject, _arrivals(*old, Firing("c", T0 + 600), through=T0 + 10), T0 + 700) == []
    third = Firing("c", T0 + 600)
    subject.take(third.event("fired", T0 + 600), T0 + 701)
    assert subject.advance(T0 + 750) == []
    for firing in (*old, third):
        subject.take(firing.event("firing", T0 + 760), T0 + 761)
    assert told(subject.advance(T0 + 770)) == [("fired", T0 + 760)]


def test_old_alarms_that_are_first_heard_of_together_did_not_come_together() -> None:
    """Retention has taken their beginnings: what is known is when their breaches began."""
    old = [Firing("a", T0 - 90_000), Firing("b", T0 - 50_000), Firing("c", T0 - 10_000)]
    subject = stage(several())
    for minute in range(3):
        for firing in old:
            subject.take(firing.event("firing", T0 + 60 * minute), T0 + 60 * minute)
    assert subject.advance(T0 + 150) == []
    together = [Firing("a", T0 - 90_000), Firing("b", T0 - 90_030), Firing("c", T0 - 90_060)]
    subject = stage(several())
    for firing in together:
        subject.take(firing.event("firing", T0), T0)
    (fired,) = subject.advance(T0 + 10)
    assert (fired.at, fired.episode.began) == (T0, T0 - 90_060 - FOR)


def test_a_day_of_silence_and_a_changed_definition_are_not_taken_for_health() -> None:
    firings = [Firing("a", T0), Firing("b", T0), Firing("c", T0)]
    forgotten = stage(several())
    run(forgotten, _arrivals(*firings, through=T0), T0 + 10)
    outcomes = [o for o in forgotten.advance(T0 + 90_000) if o.is_transition]
    assert [(o.kind, o.reason, o.at) for o in outcomes] == [("superseded", "members_gone", T0 + 86_400)]
    changed = stage(several())
    run(changed, _arrivals(*firings, through=T0), T0 + 10)
    changed.take(firings[1].event("superseded", T0 + 20), T0 + 20)
    outcomes = [o for o in changed.advance(T0 + 30) if o.is_transition]
    assert [(o.kind, o.reason, o.at) for o in outcomes] == [("superseded", "members_gone", T0 + 20)]


def test_minutes_that_one_record_lets_pass_are_counted_and_not_told() -> None:
    subject = stage(several(), heard_within=None)
    firings = [Firing("a", T0), Firing("b", T0), Firing("c", T0)]
    events = [(event.at, event) for f in firings for event in f.events(T0, announced=False)]
    outcomes = run(subject, events, T0 + 10_000_000)
    assert [o.at - T0 for o in outcomes][:2] == [0, 9_999_720]
    assert len(outcomes) == 6


def test_ended_members_are_forgotten() -> None:
    subject = stage(several())
    firings = [Firing("a", T0, T0 + 10), Firing("b", T0, T0 + 20), Firing("c", T0)]
    run(subject, _arrivals(*firings, through=T0 + 30), T0 + 1_000)
    assert subject.changed().keys() == {firing.trigger_id for firing in firings}
    assert set(subject.members) == {firings[2].trigger_id}
    assert subject.changed() == {}


def test_a_changed_definition_supersedes_and_decides_anew_under_the_same_id() -> None:
    firings = [Firing("a", T0), Firing("b", T0), Firing("c", T0)]
    first = stage(several())
    (fired,) = run(first, _arrivals(*firings, through=T0), T0 + 20)
    for rules, again in ((several(window=50), True), (several(name="other"), False), (None, False)):
        second = stage(*([rules] if rules else []))
        (superseded,) = second.recall(
            evaluated=first.evaluated,
            shown=first.shown,
            members=first.members.values(),
            episodes=first.episodes.values(),
        )
        assert (superseded.kind, superseded.trigger_id) == ("superseded", fired.trigger_id)
        outcomes = second.advance(T0 + 30)
        assert (fired.trigger_id in {o.trigger_id for o in outcomes}) is again
        assert told(outcomes) == ([] if rules is None else [("fired", T0 + 21)])


def test_a_restart_changes_nothing() -> None:
    firings = [Firing("a", T0, T0 + 130), Firing("b", T0 + 5), Firing("c", T0 + 30), Firing("d", T0 + 70)]
    arrivals = sorted(_arrivals(*firings, through=T0 + 300), key=lambda entry: entry[0])
    whole = ids(run(stage(several()), arrivals, T0 + 300))
    for cut in range(len(arrivals)):
        first = stage(several())
        before = [o for arrival, event in arrivals[:cut] for o in first.take(event, arrival)]
        second = stage(several())
        assert (
            second.recall(
                evaluated=first.evaluated,
                shown=first.shown,
                members=first.members.values(),
                episodes=first.episodes.values(),
            )
            == []
        )
        assert ids(before + run(second, arrivals[cut:], T0 + 300)) == whole
