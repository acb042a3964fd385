"""What the analyzer tells of incidents. Ids are deterministic, so that telling twice is harmless."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from schemas.envelope import Event, bounded_id, make_event
from schemas.incidents import IncidentEvent, OffsetRange
from schemas.registry import AnyEvent
from services.analyzer.domain.closing import Assessment
from services.analyzer.domain.incident import Incident

SOURCE = "/backout/analyzer"


def _event(data: IncidentEvent, event_id: str, now: datetime, cause: str | None) -> Event[IncidentEvent]:
    return make_event(
        data,
        event_id=bounded_id(event_id),
        source=SOURCE,
        time=now,
        subject=data.component,
        correlationid=data.incident_id,
        causationid=cause,
    )


def opened(incident: Incident, *, now: datetime, cause: str) -> Event[IncidentEvent]:
    """The incident is open; ``cause`` is the id of the event that showed it."""
    data = IncidentEvent(
        kind="opened",
        incident_id=incident.id,
        component=incident.component,
        components=incident.components,
        at=now,
        opened_at=incident.opened_at,
        reason="opened",
        why=f"First of it: {incident.id}",
        executions=incident.executions,
        triggers=incident.triggers,
    )
    return _event(data, f"{incident.id}/opened", now, cause)


def closed(
    incident: Incident, assessment: Assessment, ranges: Iterable[OffsetRange], *, now: datetime
) -> Event[IncidentEvent]:
    """The incident is over; ``ranges`` hold all that its report is made from."""
    data = IncidentEvent(
        kind="closed",
        incident_id=incident.id,
        component=incident.component,
        components=incident.components,
        at=now,
        opened_at=incident.opened_at,
        reason=assessment.reason,
        why=assessment.why,
        status=assessment.status,
        executions=incident.executions,
        triggers=incident.triggers,
        ranges=tuple(ranges),
    )
    return _event(data, f"{incident.id}/closed", now, None)


def merged(
    incident_id: str, component: str, opened_at: datetime, into: str, *, now: datetime, cause: str
) -> Event[IncidentEvent]:
    """An incident that had been opened turned out to be part of another."""
    data = IncidentEvent(
        kind="merged",
        incident_id=incident_id,
        component=component,
        at=now,
        opened_at=opened_at,
        reason="absorbed",
        why=f"Absorbed into the rollback of {into}",
        merged_into=into,
    )
    return _event(data, f"{incident_id}/merged", now, cause)


def added(closing: IncidentEvent, event: AnyEvent, *, now: datetime) -> Event[IncidentEvent]:
    """An event came after the incident's close: an addendum."""
    data = IncidentEvent(
        kind="added",
        incident_id=closing.incident_id,
        component=closing.component,
        at=now,
        opened_at=closing.opened_at,
        reason="after_close",
        why=f"{event.type} came after the incident was closed",
        status=closing.status,
        added_event_id=event.id,
    )
    return _event(data, f"{closing.incident_id}/added/{event.id}", now, event.id)


def covers(closing: IncidentEvent, topic: str, partition: int, offset: int) -> bool:
    """Whether a record is within the frozen ranges."""
    return any(
        one.topic == topic and one.partition == partition and one.first <= offset <= one.last
        for one in closing.ranges
    )
