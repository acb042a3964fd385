"""When an incident may be closed, and what it says that it waits for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from schemas.registry import AnyEvent
from services.analyzer.domain.closing import Assessment, ClosingRules, assess, worst
from tests.unit.analyzer.scenario import RECEIVERS, Scenario
from tests.unit.analyzer.test_incident import follow, placed

RULES = ClosingRules(settle=timedelta(seconds=10), close_after=timedelta(seconds=300))
Events = dict[str, list[AnyEvent]]


def assessed(events: Events, seconds: float) -> Assessment:
    """How the one incident of these events stands, so long after the breach began."""
    table = follow(one for topic in placed(events).values() for one in topic)
    (incident,) = table.values()
    return assess(incident, Scenario().at(seconds), RULES)


def _fired(scenario: Scenario) -> Events:
    return {"triggers": [scenario.triggered("fired", 10)]}


def _running(scenario: Scenario) -> Events:
    return {**_fired(scenario), "rollbacks": [scenario.journal("started", 11)]}


def _not_resolved(scenario: Scenario) -> Events:
    events = scenario.rolled_back()
    return {**events, "triggers": events["triggers"][:-1]}


def _failed(scenario: Scenario) -> Events:
    return scenario.rolled_back("Failed")


def _failed_and_closed(scenario: Scenario) -> Events:
    return {**scenario.rolled_back("CriticalFailure"), "commands": [scenario.close_command(85)]}


def _failed_after_the_close(scenario: Scenario) -> Events:
    return {**scenario.rolled_back("Failed"), "commands": [scenario.close_command(12)]}


def _failed_closed_and_failed_again(scenario: Scenario) -> Events:
    events = _failed_and_closed(scenario)
    second = {"execution_id": "exec-2", "requested_by": scenario.execution_id}
    events["rollbacks"].append(scenario.journal("started", 86, **second))
    events["rollbacks"].append(scenario.journal("completed", 90, status="Failed", **second))
    return events


def _failed_and_mended(scenario: Scenario) -> Events:
    events = _failed_and_closed(scenario)
    second = {"execution_id": "exec-2", "requested_by": scenario.execution_id}
    events["rollbacks"].append(scenario.journal("started", 86, **second))
    events["rollbacks"].append(scenario.journal("completed", 90, status="Success", **second))
    return events


def _close_that_came(scenario: Scenario, seconds: float) -> AnyEvent:
    """A request to close that was issued at 85, expires at 685, and reached the broker then."""
    return scenario.close_command(85).model_copy(update={"time": scenario.at(seconds)})


def _failed_and_closed_in_time(scenario: Scenario) -> Events:
    return {**_failed(scenario), "commands": [_close_that_came(scenario, 685)]}


def _failed_and_closed_too_late(scenario: Scenario) -> Events:
    return {**_failed(scenario), "commands": [_close_that_came(scenario, 685.001)]}


def _firing_and_closed_too_late(scenario: Scenario) -> Events:
    return {**_not_resolved(scenario), "commands": [_close_that_came(scenario, 686)]}


def _closed_while_running(scenario: Scenario) -> Events:
    return {**_running(scenario), "commands": [scenario.close_command(20)]}


def _closed_while_firing(scenario: Scenario) -> Events:
    return {**_not_resolved(scenario), "commands": [scenario.close_command(85)]}


def _untold(scenario: Scenario) -> Events:
    events = scenario.rolled_back()
    return {**events, "notifications": events["notifications"][:-1]}


def _no_notifier(scenario: Scenario) -> Events:
    events = scenario.rolled_back()
    return {"triggers": events["triggers"], "rollbacks": events["rollbacks"]}


def _refused(scenario: Scenario) -> Events:
    refused = scenario.journal("refused", 11, execution_id="request-1", reason="refused_cool_down")
    return {"triggers": [scenario.triggered("fired", 10)], "rollbacks": [refused]}


def _refused_and_resolved(scenario: Scenario) -> Events:
    events = _refused(scenario)
    return {**events, "triggers": [*events["triggers"], scenario.triggered("resolved", 84)]}


def _superseded(scenario: Scenario) -> Events:
    return {"triggers": [scenario.triggered("fired", 10), scenario.triggered("superseded", 84)]}


def _command_alone(scenario: Scenario) -> Events:
    return {"commands": [scenario.commanded(0)]}


def _command_refused(scenario: Scenario) -> Events:
    refused = scenario.journal(
        "refused", 1, correlation="command-1", requested_by="command-1", execution_id="command-1"
    )
    return {"commands": [scenario.commanded(0)], "rollbacks": [refused]}


def _shadow(scenario: Scenario) -> Events:
    return {
        "triggers": [scenario.triggered("fired", 10), scenario.triggered("resolved", 84)],
        "rollbacks": [scenario.journal("planned", 11)],
    }


def _echo(scenario: Scenario) -> Events:
    return {"commands": [scenario.close_command(84)]}


@pytest.mark.parametrize(
    ("made", "seconds", "closable", "reason"),
    [
        (Scenario.rolled_back, 90, False, "settling"),
        (Scenario.rolled_back, 94, True, "settled"),
        (_fired, 9_999, False, "trigger_active"),
        (_running, 9_999, False, "execution_running"),
        (_not_resolved, 9_999, False, "trigger_active"),
        (_superseded, 94, True, "settled"),
        (_failed, 9_999, False, "needs_person"),
        (_failed_and_closed, 94, False, "settling"),
        (_failed_and_closed, 95, True, "closed_by_person"),
        (_failed_after_the_close, 9_999, False, "needs_person"),
        (_failed_closed_and_failed_again, 9_999, False, "needs_person"),
        (_failed_and_mended, 9_999, True, "deliveries_overdue"),
        (_failed_and_closed_in_time, 9_999, True, "closed_by_person"),
        (_failed_and_closed_too_late, 9_999, False, "needs_person"),
        (_firing_and_closed_too_late, 9_999, False, "trigger_active"),
        (_closed_while_running, 9_999, False, "execution_running"),
        (_closed_while_firing, 95, True, "closed_by_person"),
        (_untold, 100, False, "deliveries_pending"),
        (_untold, 383, False, "deliveries_pending"),
        (_untold, 384, True, "deliveries_overdue"),
        (_no_notifier, 100, False, "deliveries_pending"),
        (_no_notifier, 384, True, "deliveries_overdue"),
        (_refused, 9_999, False, "trigger_active"),
        (_refused_and_resolved, 94, True, "settled"),
        (_command_alone, 899, False, "command_unanswered"),
        (_command_alone, 900, True, "settled"),
        (_command_refused, 11, True, "settled"),
        (_shadow, 94, True, "settled"),
        (_echo, 93, False, "settling"),
        (_echo, 94, True, "never_opened"),
    ],
)
def test_closing(made: Callable[[Scenario], Events], seconds: float, closable: bool, reason: str) -> None:
    found = assessed(made(Scenario()), seconds)
    assert (found.closable, found.reason) == (closable, reason)
    assert found.why


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (_failed_after_the_close, "came before the rollback failed"),
        (_failed_and_closed_too_late, "came after it had expired"),
        (_firing_and_closed_too_late, "came after it had expired"),
    ],
)
def test_it_says_why_a_request_to_close_is_not_heeded(made: Callable[[Scenario], Events], said: str) -> None:
    close = f"close:{Scenario().id}"
    assert assessed(made(Scenario()), 9_999).why.endswith(f"(the request {close} {said})")


def test_it_names_who_was_not_told() -> None:
    assert assessed(_untold(Scenario()), 100).why == f"Not told of the rollback's end: {RECEIVERS[-1]}"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Scenario.rolled_back, "Rollbacks ended, "),
        (_command_refused, "No rollback was carried out, "),
        (_shadow, "No rollback was carried out, "),
    ],
)
def test_it_does_not_say_that_a_rollback_ended_where_there_was_none(
    made: Callable[[Scenario], Events], said: str
) -> None:
    assert assessed(made(Scenario()), 94).why.startswith(said)


def test_a_failed_delivery_is_settled() -> None:
    scenario = Scenario()
    events = scenario.rolled_back()
    failed = scenario.told(RECEIVERS[-1], "rollback_completed", 20, kind="failed")
    events["notifications"][-1] = failed
    assert assessed(events, 94).reason == "settled"


def test_progress_told_of_late_does_not_count_as_the_end() -> None:
    scenario = Scenario()
    events = scenario.rolled_back()
    events["notifications"][-1] = scenario.told(RECEIVERS[-1], "progress", 20)
    assert assessed(events, 100).reason == "deliveries_pending"


@pytest.mark.parametrize("status", ["Success", "PartialFailure"])
def test_what_a_partial_failure_waits_for(status: str) -> None:
    scenario = Scenario()
    events = scenario.rolled_back(status)
    assert assessed(events, 400).closable
    assert assessed(events, 400).status == status


def test_the_worst_end_is_the_outcome() -> None:
    assert worst([None, "Success", "Failed", "PartialFailure"]) == "Failed"
    assert worst([None]) is None


def test_triggers_are_ordered_by_their_time_not_by_arrival() -> None:
    """A resolution that is read first does not lose against an older announcement."""
    scenario = Scenario()
    events = {"triggers": [scenario.triggered("fired", 10), scenario.triggered("resolved", 84)]}
    events["triggers"].append(scenario.triggered("firing", 70))
    assert assessed(events, 94).reason == "settled"
