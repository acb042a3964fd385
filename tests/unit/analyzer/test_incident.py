"""An incident is the same, whatever the order in which its events come from the topics."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.generate import HERE
from schemas.registry import AnyEvent, read_event
from services.analyzer.domain import announcements
from services.analyzer.domain.facts import Place, fact_of
from services.analyzer.domain.incident import Incident, apply_all
from tests.unit.analyzer.scenario import Scenario

Placed = tuple[AnyEvent, Place]


def placed(topics: Mapping[str, Sequence[AnyEvent]]) -> dict[str, list[Placed]]:
    return {
        topic: [(event, Place(topic=topic, partition=0, offset=n)) for n, event in enumerate(events)]
        for topic, events in topics.items()
    }


def follow(events: Iterable[Placed], known: Mapping[str, Incident] | None = None) -> dict[str, Incident]:
    """What the table holds after these events."""
    facts = [fact_of(event, place, event.time) for event, place in events]
    return apply_all(known or {}, [fact for fact in facts if fact is not None])


def interleavings(topics: Mapping[str, Sequence[Placed]]) -> Iterator[list[Placed]]:
    """Every order that keeps the order within each topic."""
    names = [name for name, events in topics.items() for _ in events]
    for order in set(itertools.permutations(names)):
        left = {name: iter(events) for name, events in topics.items()}
        yield [next(left[name]) for name in order]


def test_every_arrival_order_gives_the_same_incident() -> None:
    scenario = Scenario()
    started, ended = scenario.journal("started", 11), scenario.journal("completed", 20, status="Success")
    topics = placed(
        {
            "triggers": [scenario.triggered("fired", 10), scenario.triggered("resolved", 30)],
            "rollbacks": [started, ended],
            "notifications": [
                scenario.told("engineering_team", "rollback_initiated", 12),
                scenario.told("engineering_team", "rollback_completed", 21),
            ],
            "commands": [scenario.close_command(40)],
        }
    )
    expected = follow(itertools.chain.from_iterable(topics.values()))
    assert list(expected) == [scenario.id]
    orders = list(interleavings(topics))
    assert len(orders) == 630
    for order in orders:
        assert follow(order) == expected


@pytest.fixture
def absorbed() -> dict[str, list[Placed]]:
    """A second trigger fires while the rollback runs, and is absorbed into it."""
    first, second = Scenario(), Scenario(trigger="error_rate")
    absorbed = second.journal(
        "absorbed",
        15,
        correlation=first.trigger_id,
        cause=second.triggered("fired", 14).id,
        requested_by=second.trigger_id,
        execution_id="request-2",
    )
    return placed(
        {
            "triggers": [first.triggered("fired", 10), second.triggered("fired", 14)],
            "rollbacks": [first.journal("started", 11), absorbed],
            "notifications": [first.told("engineering_team", "rollback_initiated", 12)],
        }
    )


def test_an_absorbed_trigger_merges_in_every_order(absorbed: dict[str, list[Placed]]) -> None:
    first, second = Scenario().trigger_id, Scenario(trigger="error_rate").trigger_id
    tables = [follow(order) for order in interleavings(absorbed)]
    assert len(tables) == 30
    for table in tables:
        assert table == tables[0]
        assert list(table) == [first]
        assert table[first].triggers == tuple(sorted((first, second)))
        assert table[first].executions == ("exec-1",)
        assert table[first].absorbed == (second,)


def test_what_comes_later_of_an_absorbed_trigger_goes_to_the_incident(
    absorbed: dict[str, list[Placed]],
) -> None:
    second = Scenario(trigger="error_rate")
    table = follow(itertools.chain.from_iterable(absorbed.values()))
    resolved = (second.triggered("resolved", 60), Place(topic="triggers", partition=0, offset=9))
    assert list(follow([resolved], table)) == [Scenario().trigger_id]


_EVENTS = list(itertools.chain.from_iterable(placed(Scenario().rolled_back()).values()))


@given(order=st.permutations(range(len(_EVENTS))), again=st.lists(st.integers(0, len(_EVENTS) - 1)))
def test_events_in_any_order_and_again_change_nothing(order: list[int], again: list[int]) -> None:
    assert follow(_EVENTS[n] for n in [*order, *again]) == follow(_EVENTS)


def test_the_first_place_of_an_event_that_was_sent_twice_counts() -> None:
    event = Scenario().triggered("fired", 10)
    places = [Place(topic="triggers", partition=0, offset=n) for n in (7, 3)]
    for order in (places, places[::-1]):
        (incident,) = follow((event, place) for place in order).values()
        assert incident.facts[event.id].place.offset == 3


def test_announcements_of_a_long_breach_do_not_pile_up() -> None:
    scenario = Scenario()
    firing = [scenario.triggered("firing", 60 * minute) for minute in range(1, 2_000)]
    (incident,) = follow(
        placed({"triggers": [scenario.triggered("fired", 10), *firing]})["triggers"]
    ).values()
    kept = sorted(fact.at for fact in incident.facts.values())
    assert kept == [scenario.at(10), scenario.at(60), scenario.at(60 * 1_999)]


def test_the_stored_form_reads_back_the_same() -> None:
    topics = placed({**Scenario().rolled_back(), "commands": [Scenario().close_command(99)]})
    (incident,) = follow(itertools.chain.from_iterable(topics.values())).values()
    assert Incident.model_validate_json(incident.model_dump_json()) == incident


def test_what_is_no_incident_opens_none() -> None:
    scenario = Scenario()
    notify = scenario.triggered("fired", 10, action="notify")
    paused = scenario.journal("paused", 5)
    assert follow(placed({"triggers": [notify], "rollbacks": [paused]})["triggers"]) == {}
    assert fact_of(paused, Place(topic="rollbacks", partition=0, offset=0)) is None
    told = scenario.told("engineering_team", "rollbacks_paused", 6)
    assert fact_of(told, Place(topic="notifications", partition=0, offset=0)) is None


@pytest.mark.parametrize("topic", ["notifications", "commands"])
def test_an_echo_alone_is_not_an_opened_incident(topic: str) -> None:
    scenario = Scenario()
    echo = {
        "notifications": scenario.told("engineering_team", "rollback_initiated", 12),
        "commands": scenario.close_command(40),
    }[topic]
    (incident,) = follow(placed({topic: [echo]})[topic]).values()
    assert not incident.opened


def test_incidents_of_different_breaches_stay_apart() -> None:
    first, second = Scenario(), Scenario(trigger="error_rate")
    table = follow(
        placed({"triggers": [first.triggered("fired", 10), second.triggered("fired", 11)]})["triggers"]
    )
    assert set(table) == {first.trigger_id, second.trigger_id}


def _refused(scenario: Scenario, asked: str, reason: str) -> AnyEvent:
    return scenario.journal(
        "refused", 11, correlation=asked, requested_by=asked, execution_id=asked, reason=reason
    )


def test_a_refusal_that_answers_no_rollback_request_opens_nothing() -> None:
    """A pause that expired is refused like a rollback; so is a trigger that asks for something else."""
    scenario = Scenario(component="full_system")
    trigger = scenario.triggered("fired", 10, action="validate")
    for refused in (
        _refused(scenario, "pause-1", "refused_expired"),
        _refused(scenario, scenario.trigger_id, "unsupported"),
    ):
        topics = placed({"rollbacks": [refused], "triggers": [trigger]})
        for order in interleavings(topics):
            assert not any(incident.opened for incident in follow(order).values())


def test_a_refusal_is_of_the_incident_that_the_request_opens_in_every_order() -> None:
    scenario = Scenario()
    refused = _refused(scenario, scenario.trigger_id, "refused_cool_down")
    topics = placed({"rollbacks": [refused], "triggers": [scenario.triggered("fired", 10)]})
    tables = [follow(order) for order in interleavings(topics)]
    assert tables[0] == tables[1]
    assert tables[0][scenario.id].opened
    assert refused.id in tables[0][scenario.id].facts


def test_a_limit_of_the_monitor_belongs_to_no_incident() -> None:
    event = read_event((HERE / "examples" / "triggers" / "overflow.json").read_bytes())
    assert fact_of(event, Place(topic="triggers", partition=0, offset=0)) is None


def test_what_is_applied_to_an_older_incident_makes_it_what_it_was() -> None:
    scenario = Scenario()
    events = [one for topic in placed(scenario.rolled_back()).values() for one in topic]
    whole = follow(events)
    for known in range(len(events)):
        assert follow(events, follow(events[:known])) == whole


def test_an_incident_of_a_very_long_id_is_announced_as_any_other() -> None:
    scenario = Scenario(trigger="t" * 400)
    event = scenario.triggered("fired", 10)
    (incident,) = follow([(event, Place(topic="triggers", partition=0, offset=0))]).values()
    incident = incident.model_copy(update={"id": "i" * 510})
    opened = announcements.opened(incident, now=event.time, cause=event.id)
    closing = opened.data.model_copy(update={"incident_id": "i" * 510})
    added = announcements.added(closing, event, now=event.time)
    assert read_event(opened.to_bytes()).correlationid == "i" * 510
    assert len({opened.id, added.id}) == 2
