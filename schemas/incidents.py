"""Incidents: opened by the first trigger or command, closed when everything is settled."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from schemas.envelope import Component, EventId, KindedData
from schemas.rollbacks import RollbackStatus

IncidentKind = Literal["opened", "closed", "added", "merged"]


class OffsetRange(BaseModel):
    """Offsets ``first`` to ``last``, both included, of one partition; empty if last < first."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    topic: str
    partition: int
    first: int
    last: int


class IncidentEvent(KindedData):
    """``closed`` freezes the ranges of the log that the report is made from; the first one by
    offset counts. ``added`` tells of an event that came after the close (an addendum).
    ``merged`` ends an incident whose trigger was absorbed into the rollback of another,
    ``merged_into``. ``components`` are all that took part, ``component`` the first of them.
    """

    topic: ClassVar[str] = "incidents"

    kind: IncidentKind
    incident_id: EventId
    component: Component
    at: AwareDatetime
    opened_at: AwareDatetime
    reason: str
    why: str = ""
    status: RollbackStatus | None = None
    executions: tuple[EventId, ...] = ()
    triggers: tuple[EventId, ...] = ()
    ranges: tuple[OffsetRange, ...] = ()
    components: tuple[Component, ...] = ()
    added_event_id: EventId | None = None
    merged_into: EventId | None = None
