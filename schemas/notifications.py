"""Notifications: what became of each delivery to each receiver."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from schemas.envelope import Component, EventId, KindedData

Channel = Literal["slack", "email", "status_page", "in_app", "none"]
Tier = Literal["immediate", "short_term", "customer"]
DeliveryKind = Literal["delivered", "failed", "not_configured"]


class DeliveryEvent(KindedData):
    """One delivery, settled. ``receiver`` is a stakeholder of the plan's matrix, ``about`` what
    was told (``rollback_initiated``, ``rollback_completed``, …), ``remote_id`` the receiver's
    own id of it (a Slack timestamp, a Message-ID, a page incident's id), ``due`` when the tier
    promises it by. The event's id is ``<delivery_id>/<kind>``.
    """

    topic: ClassVar[str] = "notifications"

    kind: DeliveryKind
    delivery_id: EventId
    incident_id: EventId
    execution_id: EventId
    component: Component
    receiver: str
    tier: Tier
    channel: Channel
    about: str
    template: str
    attempts: int = Field(ge=0)
    at: AwareDatetime
    due: AwareDatetime
    remote_id: str | None = None
    reason: str = ""
