"""Who is told what of which event."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args

import pytest

from schemas.rollbacks import RollbackKind, Step
from services.notifier.domain.announcements import about_of, deliveries_for
from services.notifier.domain.plan import Receiver
from tests.unit.notifier.events import (
    INCIDENT,
    NOW,
    event_of,
    shipped_plan,
    shipped_receivers,
    told,
)

MATRIX = [
    "engineering_team",
    "product_management",
    "customer_success",
    "executive_team",
    "sales_team",
    "marketing_team",
    "status_page_update",
    "in_app_notification",
    "email_to_enterprise_customers",
]
STEP = {"id": "disable", "index": 2, "of": 4, "action": "http.call", "status": "done"}


@pytest.mark.parametrize(
    ("kind", "fields", "about", "receivers"),
    [
        ("started", {}, "rollback_initiated", MATRIX),
        ("completed", {"status": "Success"}, "rollback_completed", MATRIX),
        ("completed", {"status": "PartialFailure"}, "rollback_partial_failure", MATRIX),
        ("completed", {"status": "Failed"}, "rollback_failed", MATRIX),
        ("completed", {"status": "CriticalFailure"}, "rollback_critical_failure", MATRIX),
        ("completed", {"status": None}, "rollback_failed", MATRIX),
        ("escalation_required", {}, "escalation_required", MATRIX[:3]),
        ("planned", {}, "rollback_planned", MATRIX[:1]),
        ("refused", {}, "rollback_refused", MATRIX[:1]),
        ("refused", {"sequence": 2}, "rollback_refused", MATRIX[:1]),
        ("refused", {"sequence": 1, "epoch": 7}, "rollback_refused", MATRIX[:1]),
        ("refused", {"sequence": 2, "epoch": 7}, "rollback_called_off", MATRIX),
        ("paused", {}, "rollbacks_paused", MATRIX[:1]),
        ("resumed", {}, "rollbacks_resumed", MATRIX[:1]),
        ("step_started", {"step": STEP}, "progress", MATRIX[:1]),
        ("step_completed", {"step": STEP}, "progress", MATRIX[:1]),
        ("step_failed", {"step": STEP}, "progress", MATRIX[:1]),
        ("undo_started", {"step": STEP}, "progress", MATRIX[:1]),
        ("step_undone", {"step": STEP}, "progress", MATRIX[:1]),
        ("validated", {}, "progress", MATRIX[:1]),
        ("held", {}, "progress", MATRIX[:1]),
        ("continued", {}, "progress", MATRIX[:1]),
        ("owner_changed", {}, "progress", MATRIX[:1]),
        ("absorbed", {}, None, []),
    ],
)
def test_who_is_told(kind: str, fields: dict[str, Any], about: str | None, receivers: list[str]) -> None:
    event = event_of(kind, **fields)
    deliveries = told(event)

    assert about_of(event.data) == about
    assert [delivery.receiver for delivery in deliveries] == receivers
    assert {delivery.about for delivery in deliveries} == ({about} if about else set())


def test_every_kind_of_event_is_decided_on() -> None:
    silent = {kind for kind in get_args(RollbackKind) if about_of(event_of(kind).data) is None}
    assert silent == {"absorbed"}


def test_only_success_speaks_the_plans_words_of_success() -> None:
    for status in ("PartialFailure", "Failed", "CriticalFailure", None):
        for delivery in told(event_of("completed", status=status)):
            assert "successfully" not in delivery.message.content
            assert delivery.message.outlook == "bad"
    (first, *_) = told(event_of("completed", status="Success"))
    assert "completed successfully" in first.message.content
    assert first.message.outlook == "good"


def test_ids_follow_from_incident_receiver_and_event() -> None:
    event = event_of("started", sequence=3)
    first, again = told(event), told(event)

    assert first == again
    assert first[0].delivery_id == f"{INCIDENT}/engineering_team/rollback_initiated/exec-1/3"
    assert len({delivery.delivery_id for delivery in first}) == len(MATRIX)


def test_an_id_too_long_for_an_event_keeps_its_difference() -> None:
    one, other = (told(event_of("started", incident="x" * 500 + end))[0] for end in ("a", "b"))
    assert one.delivery_id != other.delivery_id
    assert one.lane != other.lane
    assert len(f"{one.delivery_id}/not_configured") <= 512


def test_each_tier_has_its_promise() -> None:
    minutes = {
        delivery.tier: (delivery.due - NOW).total_seconds() / 60 for delivery in told(event_of("started"))
    }
    assert minutes == {"immediate": 5, "short_term": 15, "customer": 30}


def test_what_has_no_receiver_is_refused_with_the_reason() -> None:
    refusals = {d.receiver: d.refusal for d in told(event_of("started")) if d.refusal is not None}
    assert refusals == {
        "in_app_notification": (
            "not_configured",
            "there is no receiver for in-app notifications in this version",
        )
    }


def test_an_event_of_long_ago_is_recorded_and_not_sent() -> None:
    deliveries = deliveries_for(
        event_of("started"),
        shipped_plan(),
        shipped_receivers(),
        now=NOW + timedelta(hours=2),
        max_age=timedelta(hours=1),
    )
    outcomes = {delivery.refusal[0] if delivery.refusal else None for delivery in deliveries}
    assert outcomes == {"failed", "not_configured"}


def test_receivers_on_one_slack_channel_share_its_message_and_its_edits() -> None:
    shared = Receiver("sales_team", "slack", ("#incidents",))
    started = told(event_of("started"), sales_team=shared)
    lanes = {delivery.receiver: delivery.lane for delivery in started}
    assert lanes["sales_team"] == lanes["engineering_team"]

    edits = told(event_of("step_started", step=STEP), sales_team=shared)
    assert [delivery.receiver for delivery in edits] == ["engineering_team"]


def test_an_edit_for_a_channel_that_is_not_configured_is_nothing() -> None:
    absent = Receiver("engineering_team", "slack", ("#incidents",), "no Slack token is set")
    assert told(event_of("step_started", step=STEP), engineering_team=absent) == ()


@pytest.mark.parametrize(
    ("kind", "fields", "phase", "outlook"),
    [
        ("started", {}, "initiated", "in_progress"),
        (
            "step_started",
            {"step": {**STEP, "status": "running"}},
            "step 2 of 4, disable: running",
            "in_progress",
        ),
        ("step_completed", {"step": STEP}, "step 2 of 4, disable: done", "in_progress"),
        (
            "step_completed",
            {"step": {**STEP, "status": "already_satisfied"}},
            "step 2 of 4, disable: already as wanted",
            "in_progress",
        ),
        ("step_failed", {"step": {**STEP, "status": "failed"}}, "step 2 of 4, disable: failed", "bad"),
        ("validated", {"checks": [{"name": "a", "passed": True}]}, "validated", "in_progress"),
        ("validated", {"checks": [{"name": "a", "passed": False}]}, "validation failed", "bad"),
        ("completed", {"status": "Success"}, "completed", "good"),
        ("completed", {"status": "CriticalFailure"}, "failed critically", "bad"),
    ],
)
def test_phase_and_outlook(kind: str, fields: dict[str, Any], phase: str, outlook: str) -> None:
    message = told(event_of(kind, **fields))[0].message
    assert (message.phase, message.outlook) == (phase, outlook)


def test_an_on_call_reads_why_it_began_and_why_it_failed() -> None:
    assert told(event_of("started", why="p95 of 3400 ms"))[0].message.detail == "p95 of 3400 ms"
    failed = event_of("completed", status="CriticalFailure", why="full_system has no playbook")
    assert told(failed)[0].message.detail == "full_system has no playbook"
    checks = [
        {"name": "accuracy", "passed": False, "detail": "0.91 is below 0.95"},
        {"name": "seconds_per_page", "passed": True},
    ]
    validated = told(event_of("validated", checks=checks))
    assert validated[0].message.detail == "accuracy: 0.91 is below 0.95"


def test_the_estimate_is_what_the_event_says_and_nothing_more() -> None:
    assert told(event_of("started"))[0].message.eta == "2026-01-02 03:05:35 UTC"
    assert told(event_of("started", estimated_completion=None))[0].message.eta == "not known"
    ended = told(event_of("completed", status="Success"))[0].message.eta
    assert ended == "ended 2026-01-02 03:04:05 UTC"


def test_what_a_step_says_is_printable_and_bounded() -> None:
    step = Step(id="s\x00", index=1, of=2, action="http.call", status="failed", detail="\x00<html>\n" * 9_000)
    (edit,) = told(event_of("step_failed", step=step))
    assert edit.message.detail.startswith("<html> <html>")
    assert len(edit.message.detail) == 1_000
    assert "\x00" not in edit.message.phase + edit.message.detail
