"""What becomes of each request, as a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.commands import RollbackCommand
from services.executor.domain.requests import (
    Gates,
    PlaybookFacts,
    Reason,
    TriggerFacts,
    World,
    decide_command,
    decide_trigger,
    expiry,
)

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
GATES = Gates(timedelta(minutes=5), timedelta(minutes=10), timedelta(minutes=5))
AUTO = PlaybookFacts(shadow=False, preserves_data=False)
OPEN = World(playbook=AUTO, running=None, last_ended=None, paused=False)
FIRED = TriggerFacts(
    trigger="p95",
    action="rollback",
    target="extractor",
    announced_at=NOW,
    over=None,
    immediate=False,
    settled_by=None,
)


@pytest.mark.parametrize(
    ("facts", "world", "reason"),
    [
        ({}, {}, Reason.ACCEPTED),
        ({}, {"playbook": PlaybookFacts(shadow=True, preserves_data=True)}, Reason.SHADOWED),
        ({}, {"playbook": None}, Reason.NO_PLAYBOOK),
        ({}, {"running": "rb-1"}, Reason.ABSORBED),
        ({}, {"paused": True}, Reason.PAUSED),
        ({}, {"last_ended": NOW - timedelta(minutes=4)}, Reason.COOL_DOWN),
        ({}, {"last_ended": NOW - timedelta(minutes=5)}, Reason.ACCEPTED),
        ({"action": "notify"}, {}, Reason.UNSUPPORTED),
        ({"settled_by": "rb-0"}, {}, Reason.SETTLED),
        ({"over": "resolved"}, {}, Reason.STALE),
        ({"over": "superseded"}, {}, Reason.STALE),
        ({"announced_at": NOW - timedelta(minutes=5)}, {}, Reason.ACCEPTED),
        ({"announced_at": NOW - timedelta(minutes=5, seconds=1)}, {}, Reason.STALE),
        # An immediate trigger skips the cool-down and the pause, but not its own truth.
        ({"immediate": True}, {"last_ended": NOW}, Reason.ACCEPTED),
        ({"immediate": True}, {"paused": True, "last_ended": NOW}, Reason.ACCEPTED),
        ({"immediate": True, "over": "resolved"}, {}, Reason.STALE),
        ({"immediate": True}, {"running": "rb-1"}, Reason.ABSORBED),
        # What runs absorbs, even while it is held by a pause.
        ({}, {"running": "rb-1", "paused": True, "last_ended": NOW}, Reason.ABSORBED),
        # What is no longer so is stale, whatever else holds.
        ({"over": "resolved"}, {"playbook": None, "paused": True}, Reason.STALE),
    ],
)
def test_a_trigger(facts: dict[str, Any], world: dict[str, Any], reason: Reason) -> None:
    decision = decide_trigger(replace(FIRED, **facts), replace(OPEN, **world), GATES, NOW)

    assert decision.reason is reason
    assert decision.why


@pytest.mark.parametrize(
    ("command", "world", "reason"),
    [
        ({}, {}, Reason.ACCEPTED),
        ({}, {"playbook": PlaybookFacts(shadow=True, preserves_data=True)}, Reason.SHADOWED),
        ({}, {"playbook": None}, Reason.NO_PLAYBOOK),
        ({}, {"running": "rb-1"}, Reason.ABSORBED),
        ({}, {"paused": True}, Reason.PAUSED),
        ({"mode": "emergency"}, {"paused": True}, Reason.ACCEPTED),
        ({"mode": "emergency"}, {"running": "rb-1", "paused": True}, Reason.ABSORBED),
        # Cool-down is for triggers only.
        ({}, {"last_ended": NOW}, Reason.ACCEPTED),
        ({"preserve_data": True}, {}, Reason.LOSES_DATA),
        ({"preserve_data": True}, {"playbook": replace(AUTO, preserves_data=True)}, Reason.ACCEPTED),
        ({"issued_at": NOW - timedelta(minutes=11)}, {}, Reason.EXPIRED),
        ({"expires_at": NOW - timedelta(seconds=1)}, {}, Reason.EXPIRED),
        ({"expires_at": NOW}, {}, Reason.ACCEPTED),
        # A clock that is a little ahead is forgiven, one that is far ahead is not.
        ({"issued_at": NOW + timedelta(seconds=60)}, {}, Reason.ACCEPTED),
        ({"issued_at": NOW + timedelta(seconds=61)}, {}, Reason.EXPIRED),
        ({"mode": "emergency", "expires_at": NOW - timedelta(seconds=1)}, {}, Reason.EXPIRED),
    ],
)
def test_a_command(command: dict[str, Any], world: dict[str, Any], reason: Reason) -> None:
    decision = decide_command(issued(**command), replace(OPEN, **world), GATES, NOW)

    assert decision.reason is reason
    assert decision.why


def test_a_command_lives_no_longer_than_the_settings_allow() -> None:
    long_lived = issued(issued_at=NOW - timedelta(minutes=10), expires_at=NOW + timedelta(days=1))

    assert expiry(long_lived, GATES, NOW) is None
    assert expiry(long_lived, GATES, NOW + timedelta(seconds=1)) == "expired at 2026-01-01T12:00:00+00:00"


def test_a_refusal_says_what_it_stands_on() -> None:
    old = decide_trigger(replace(FIRED, announced_at=NOW - timedelta(minutes=7)), OPEN, GATES, NOW)
    cooling = decide_trigger(FIRED, replace(OPEN, last_ended=NOW), GATES, NOW)
    paused = decide_trigger(FIRED, replace(OPEN, paused=True, paused_why="audit"), GATES, NOW)

    assert "420 s ago, more than 300 s" in old.why
    assert "2026-01-01T12:05:00+00:00" in cooling.why
    assert paused.why == "rollbacks are paused: audit"


def issued(**fields: Any) -> RollbackCommand:
    return RollbackCommand(
        **{
            "component": "extractor",
            "issued_by": "tester",
            "issued_at": NOW,
            "expires_at": NOW + timedelta(minutes=10),
            **fields,
        }
    )
