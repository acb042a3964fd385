"""Rollbacks from their request to their end, by a real executor against a real target."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import asyncpg
import pytest

from schemas.rollbacks import RollbackEvent
from tests.integration.executor.stage import (
    COMPONENT,
    Executors,
    rollback,
    trigger,
    trigger_event,
)
from tests.integration.executor.target import Target


async def test_a_command_is_carried_out_step_by_step_and_announced(
    executors: Executors, target: Target
) -> None:
    executors.start()
    await executors.command(rollback(reason="it is slow"), event_id="command-1")
    end = await executors.ended()

    assert end.status == "Success"
    assert end.progress == 100
    assert target.applied(COMPONENT) == ["enhanced", "original", "validate", "routing"]
    assert target.state[COMPONENT] == {"enhanced": False, "original": True, "routing": "original"}
    events = [event for event in await executors.events() if event.subject == COMPONENT]
    data = [event.data for event in events]
    assert [item.kind for item in data] == [
        "started",
        *("step_started", "step_completed"),
        *("step_started", "step_completed"),
        *("step_started", "validated", "step_completed"),
        *("step_started", "step_completed"),
        "completed",
    ]
    assert [item.sequence for item in data] == list(range(1, len(data) + 1))
    assert [item.progress for item in data if item.kind == "step_completed"] == [25, 50, 75, 100]
    assert {event.correlationid for event in events} == {"command-1"}
    assert events[0].causationid == "command-1"
    assert all(later.causationid == earlier.id for earlier, later in pairwise(events))
    assert data[0].estimated_completion is not None
    assert data[0].plan[0].id == "disable"
    checks = next(item for item in data if item.kind == "validated").checks
    assert [(check.name, check.passed, check.limit) for check in checks] == [
        ("accuracy", True, 0.95),
        ("seconds_per_page", True, 1.0),
    ]


async def test_a_trigger_that_fires_is_settled_by_one_execution(executors: Executors, target: Target) -> None:
    executors.start()
    fired = await executors.trigger("fired")
    end = await executors.ended()
    again = await executors.trigger("firing", began=fired.began, at=datetime.now(UTC))
    await executors.command(rollback("nothing"), event_id="marker", component="nothing")
    events = await executors.until(
        lambda found: any(item.reason == "no_playbook" for item in found), what="the marker's refusal"
    )

    assert end.status == "Success"
    assert again.trigger_id == fired.trigger_id
    assert end.requested_by == fired.trigger_id
    assert len([item for item in events if item.kind == "started"]) == 1
    assert len(target.effects) == 4


async def test_a_step_that_is_as_wanted_is_left_alone(executors: Executors, target: Target) -> None:
    target.component(COMPONENT)["enhanced"] = False
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    await executors.ended()
    events = await executors.rollbacks()

    steps = [
        (item.step.id, item.step.status) for item in events if item.kind == "step_completed" and item.step
    ]
    assert steps[0] == ("disable", "already_satisfied")
    assert target.applied(COMPONENT) == ["original", "validate", "routing"]


async def test_an_old_trigger_and_a_resolved_one_are_refused_as_stale(
    executors: Executors, target: Target
) -> None:
    now = datetime.now(UTC)
    old = trigger("fired", at=now - timedelta(minutes=6))
    over = trigger("fired", name="error_rate", at=now - timedelta(seconds=30))
    resolved = trigger("resolved", name="error_rate", began=over.began, at=now)
    for data in (old, over, resolved):
        await executors.publish("triggers", trigger_event(data))
    executors.start()
    events = await executors.until(lambda found: len(found) >= 2, what="two refusals")

    assert {item.execution_id: item.reason for item in events} == {
        old.trigger_id: "refused_stale",
        over.trigger_id: "refused_stale",
    }
    assert {item.kind for item in events} == {"refused"}
    assert target.requests == []


async def test_an_action_of_a_later_version_is_refused_once(executors: Executors) -> None:
    began = datetime.now(UTC)
    for number in range(3):
        at = began + timedelta(seconds=number)
        data = trigger("fired" if number == 0 else "firing", began=began, at=at, action="validate")
        await executors.publish("triggers", trigger_event(data))
    await executors.command(rollback("nothing"), event_id="marker", component="nothing")
    executors.start()
    events = await executors.until(
        lambda found: {item.reason for item in found} >= {"unsupported", "no_playbook"}, what="the refusals"
    )

    assert [item.reason for item in events].count("unsupported") == 1


async def test_a_failed_validation_is_not_routed_to_and_calls_a_person(
    executors: Executors, target: Target
) -> None:
    executors.playbook(tail="on_failure: {rollback: full_system}")
    target.faults.accuracy = 0.80
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    end = await executors.ended()
    events = await executors.rollbacks()

    assert end.status == "CriticalFailure"
    assert end.reason == "validation_failed"
    assert "full_system cannot run" in end.why
    assert [item.kind for item in events][-2:] == ["escalation_required", "completed"]
    checks = next(item for item in events if item.kind == "validated").checks
    assert (checks[0].name, checks[0].passed, checks[0].value) == ("accuracy", False, 0.80)
    # The original stays restored, the bad release stays off, and nothing is routed to either.
    assert target.state[COMPONENT] == {"enhanced": False, "original": True, "routing": "enhanced"}


async def test_without_on_failure_a_failed_validation_ends_in_failed(
    executors: Executors, target: Target
) -> None:
    target.faults.seconds_per_page = 1.5
    executors.start()
    await executors.command(rollback(), event_id="command-1")

    assert (await executors.ended()).status == "Failed"
    assert "escalation_required" in [item.kind for item in await executors.rollbacks()]


async def test_steps_are_undone_when_a_later_one_fails(executors: Executors, target: Target) -> None:
    target.faults.refuse["original"] = (403, 1)
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    end = await executors.ended()
    kinds = [(item.kind, item.step.id if item.step else "") for item in await executors.rollbacks()]

    assert end.status == "Failed"
    assert "nothing of it remains in effect" in end.why
    assert kinds[-5:] == [
        ("step_failed", "restore"),
        ("undo_started", "disable"),
        ("step_undone", "disable"),
        ("escalation_required", ""),
        ("completed", ""),
    ]
    assert target.state[COMPONENT] == {"enhanced": True, "original": False, "routing": "enhanced"}
    assert [key.split("/", 1)[1] for key in target.effects] == ["disable", "disable/undo"]


async def test_an_effect_that_cannot_be_undone_is_a_partial_failure(
    executors: Executors, target: Target
) -> None:
    target.faults.refuse["routing"] = (403, 9)
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    end = await executors.ended()

    assert end.status == "PartialFailure"
    assert "still in effect: restore" in end.why


async def test_an_unhealthy_target_is_never_rolled_back_onto(executors: Executors, target: Target) -> None:
    target.faults.healthy = False
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    end = await executors.ended()

    assert (end.status, end.reason) == ("Failed", "require_not_met")
    assert target.requests == []


async def test_a_lost_answer_is_settled_by_looking(executors: Executors, target: Target) -> None:
    target.faults.drop_answer["original"] = 1
    target.faults.refuse["routing"] = (503, 1)
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    end = await executors.ended()

    assert end.status == "Success"
    assert [effect.requested for effect in target.effects.values()] == [1, 1, 1, 1]
    assert [part for part, _ in target.requests].count("routing") == 2


async def test_a_target_that_only_says_yes_is_not_believed(executors: Executors, target: Target) -> None:
    executors.playbook(timeout="500ms")
    target.faults.pretend.add("original")
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    end = await executors.ended()

    assert (end.status, end.reason) == ("Failed", "outcome_unknown")
    assert "step restore" in end.why


async def test_on_failure_goes_on_with_the_next_playbook(executors: Executors, target: Target) -> None:
    executors.playbook(tail="on_failure: {rollback: fallback}")
    executors.playbook("fallback")
    target.faults.refuse["original"] = (403, 1)
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    first = await executors.ended()
    second = await executors.ended("fallback")
    events = await executors.events()

    assert (first.status, second.status) == ("Failed", "Success")
    started = next(e for e in events if e.subject == "fallback")
    assert started.correlationid == "command-1"
    assert started.causationid == next(
        e.id for e in events if e.subject == COMPONENT and e.data.kind == "completed"
    )


async def test_on_failure_joins_the_rollback_that_runs(executors: Executors, target: Target) -> None:
    executors.playbook(tail="on_failure: {rollback: fallback}")
    executors.playbook("fallback", between="  - {id: settle, wait: {for: 6s}}")
    target.faults.refuse["original"] = (403, 1)
    executors.start()
    await executors.command(rollback("fallback"), event_id="command-1", component="fallback")
    await executors.until(
        lambda found: any(item.step and item.step.id == "settle" for item in found), what="the wait"
    )
    await executors.command(rollback(mode="emergency"), event_id="command-2")
    first = await executors.ended()
    second = await executors.ended("fallback")
    events = await executors.events()
    absorbed = next(item for item in events if item.data.kind == "absorbed")

    assert (first.status, second.status, second.requested_by) == ("Failed", "Success", "command-1")
    assert (absorbed.subject, absorbed.correlationid) == ("fallback", "command-1")
    assert absorbed.causationid == f"{first.execution_id}/{first.sequence}"
    assert isinstance(absorbed.data, RollbackEvent)
    assert absorbed.data.requested_by == "command-2"
    rows = await executors.rows("SELECT heeds_pause FROM executor.executions WHERE component = 'fallback'")
    assert [row["heeds_pause"] for row in rows] == [False]


async def test_a_shadow_playbook_announces_its_plan_and_does_nothing(
    executors: Executors, target: Target
) -> None:
    executors.playbook(mode="shadow")
    executors.start()
    await executors.trigger("fired")
    events = await executors.until(bool, what="the plan")

    assert [item.kind for item in events] == ["planned"]
    assert [step.id for step in events[0].plan] == ["disable", "restore", "validate", "route"]
    assert target.requests == []


async def test_the_journal_cannot_be_rewritten(executors: Executors) -> None:
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    await executors.ended()

    for change in ("UPDATE executor.journal SET why = ''", "DELETE FROM executor.journal"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await executors.rows(change)
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await executors.rows("TRUNCATE executor.journal")
