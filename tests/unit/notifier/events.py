"""Events, plan and receivers as values, for the tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chassis.settings import NotifierSettings
from schemas.envelope import Event, make_event
from schemas.rollbacks import RollbackEvent
from services.notifier.adapters.config_files import load_plan, load_receivers
from services.notifier.domain.announcements import Delivery, deliveries_for
from services.notifier.domain.entry import Entry
from services.notifier.domain.plan import CommunicationPlan, Receiver

CONFIG = Path(__file__).parents[3] / "config"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
INCIDENT = "response_time_p95/pdf_extraction/2026-01-02T03:04:00Z"

ALL_SET = NotifierSettings.model_validate(
    {
        "slack": {"token": "xoxb-1"},
        "smtp": {"host": "mail.example.org", "sender": "backout@example.org"},
        "statuspage": {"page_id": "p", "api_key": "k"},
    }
)


def shipped_plan() -> CommunicationPlan:
    return load_plan(CONFIG / "rollback/communication_plan.yml")


def shipped_receivers(settings: NotifierSettings = ALL_SET) -> dict[str, Receiver]:
    return load_receivers(CONFIG / "receivers.yml", shipped_plan(), settings)


def event_of(
    kind: str, *, incident: str = INCIDENT, sequence: int = 1, **fields: Any
) -> Event[RollbackEvent]:
    data = RollbackEvent.model_validate(
        {
            "kind": kind,
            "execution_id": "exec-1",
            "sequence": sequence,
            "component": "pdf_extraction",
            "requested_by": incident,
            "reason": "over its limit",
            "at": NOW,
            "estimated_completion": NOW + timedelta(seconds=90),
            **fields,
        }
    )
    return make_event(
        data,
        event_id=f"exec-1/{sequence}",
        source="executor/test",
        time=NOW,
        subject="pdf_extraction",
        correlationid=incident,
    )


def told(event: Event[RollbackEvent], **receivers: Receiver) -> tuple[Delivery, ...]:
    """What the shipped plan makes of an event."""
    known = {**shipped_receivers(), **receivers}
    return deliveries_for(event, shipped_plan(), known, now=NOW, max_age=timedelta(days=1))


def entry_of(delivery: Delivery, **fields: Any) -> Entry:
    known: dict[str, Any] = {"state": "pending", "attempts": 0, "failures": 0, "sent_at": None}
    return Entry(delivery=delivery, **{**known, **fields})
