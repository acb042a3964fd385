"""Which deliveries an event of a rollback causes: who is told, what, and in which order.

| event | announcement | told |
|---|---|---|
| started | rollback_initiated | everyone in the matrix |
| completed, Success | rollback_completed | everyone in the matrix |
| completed, else | rollback_partial_failure, rollback_failed, … | everyone in the matrix |
| refused, though it had started | rollback_called_off | everyone in the matrix |
| escalation_required | escalation_required | the immediate tier |
| planned, refused, paused, resumed | rollback_planned, rollback_refused, … | the on-call (engineering_team) |
| steps, validated, held, continued, owner_changed | progress | Slack channels, by editing the message |
| absorbed | none: the running rollback's announcements cover it | nobody |

Nothing is announced of an event that is older than ``max_age``: a notifier that starts on an
old log, or on deliveries that an earlier one left, must not tell customers of last week's incident.
That is recorded as failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from schemas.envelope import Event, bounded_id
from schemas.notifications import Channel, Tier
from schemas.rollbacks import RollbackEvent
from services.notifier.domain import wording
from services.notifier.domain.plan import PROMISES, CommunicationPlan, Receiver, Template, Urgency, one_line

ON_CALL = "engineering_team"
PROGRESS = "progress"

Outlook = Literal["in_progress", "good", "bad"]
"""What the message means: still going on, ended well, or in need of a person."""

_ENDS = {
    "Success": "rollback_completed",
    "PartialFailure": "rollback_partial_failure",
    "Failed": "rollback_failed",
    "CriticalFailure": "rollback_critical_failure",
}
BEGINNINGS = ("rollback_initiated", "evaluation_stopped")
"""What is told of something that will end, and then be told of again."""

ENDINGS = (*_ENDS.values(), "rollback_called_off", "evaluation_resumed")
_FOR_ON_CALL = {
    "planned": "rollback_planned",
    "refused": "rollback_refused",
    "paused": "rollbacks_paused",
    "resumed": "rollbacks_resumed",
}
_PROGRESS_KINDS = frozenset(
    {"step_started", "step_completed", "step_failed", "undo_started", "step_undone", "held"}
    | {"continued", "owner_changed", "validated"}
)
_MAX_ID = 480  # room for the suffix of its event's id
# A step's detail may be a whole page that a server answered with.
_MAX_DETAIL = 1_000


@dataclass(frozen=True, slots=True)
class Message:
    """What one delivery tells, before a channel gives it its form.

    ``progress`` is a percentage; ``eta`` is text, empty for what has no progress; ``detail`` may be
    empty. ``headline`` says what the message is about. Facts of events are bounded and printable in all
    of them.
    """

    subject: str
    content: str
    urgency: Urgency
    phase: str
    progress: int
    eta: str
    outlook: Outlook
    detail: str = ""
    headline: str = "Rollback Status Update"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing to tell one receiver.

    ``lane`` is what must stay in order and what one remote object (a Slack message, a page's
    incident) belongs to. ``refusal`` is set where nothing will be sent: (outcome, reason).
    """

    delivery_id: str
    incident_id: str
    execution_id: str
    component: str
    event_id: str
    receiver: str
    tier: Tier
    channel: Channel
    addresses: tuple[str, ...]
    lane: str
    about: str
    template: str
    message: Message
    caused_at: datetime
    due: datetime
    refusal: tuple[Literal["not_configured", "failed"], str] | None = None


def deliveries_for(
    event: Event[RollbackEvent],
    plan: CommunicationPlan,
    receivers: Mapping[str, Receiver],
    *,
    now: datetime,
    max_age: timedelta,
) -> tuple[Delivery, ...]:
    """The deliveries that an event causes, in the matrix' order. See the module's table."""
    about = about_of(event.data)
    if about is None:
        return ()
    message = _message(event, plan.templates.get(about))
    late = too_old(event.data.at, now, max_age)
    found = []
    for name, tier in _told(about, plan, receivers):
        receiver = receivers[name]
        refusal: tuple[Literal["not_configured", "failed"], str] | None = None
        if receiver.not_configured:
            refusal = ("not_configured", receiver.not_configured)
        elif late is not None:
            refusal = ("failed", late)
        if about == PROGRESS and refusal is not None:
            continue
        found.append(_delivery(event, about, message, receiver, tier, refusal))
    return tuple(found)


def too_old(at: datetime, now: datetime, max_age: timedelta) -> str | None:
    """Why nobody is to be told any more of what happened ``at``, or None."""
    return f"too_old: it happened at {at.isoformat()}" if now - at > max_age else None


def about_of(data: RollbackEvent) -> str | None:
    """The announcement that an event calls for, None for one that calls for none."""
    if data.kind == "started":
        return "rollback_initiated"
    if data.kind == "completed":
        # An end whose status is not known is not announced as a success.
        return _ENDS.get(data.status or "", "rollback_failed")
    if data.kind == "escalation_required":
        return "escalation_required"
    if data.kind in _PROGRESS_KINDS:
        return PROGRESS
    if data.kind == "refused" and _had_started(data):
        return "rollback_called_off"
    return _FOR_ON_CALL.get(data.kind)


def _had_started(data: RollbackEvent) -> bool:
    """Whether a refusal ends an execution that was announced: its entries are written under a
    lease's epoch, and the first of them is the announcement."""
    return data.epoch is not None and data.sequence > 1


def _told(
    about: str, plan: CommunicationPlan, receivers: Mapping[str, Receiver]
) -> Iterable[tuple[str, Tier]]:
    tiers = plan.tiers()
    if about in _FOR_ON_CALL.values():
        return [(ON_CALL, tiers[ON_CALL])] if ON_CALL in tiers else []
    if about == "escalation_required":
        return [(name, "immediate") for name in plan.matrix.get("immediate", ())]
    if about == PROGRESS:
        # Two receivers on one Slack channel share its message: one edit serves both.
        by_address = {
            receivers[name].address: (name, tier)
            for name, tier in reversed(list(tiers.items()))
            if receivers[name].channel == "slack"
        }
        return list(by_address.values())
    return list(tiers.items())


def _delivery(
    event: Event[RollbackEvent],
    about: str,
    message: Message,
    receiver: Receiver,
    tier: Tier,
    refusal: tuple[Literal["not_configured", "failed"], str] | None,
) -> Delivery:
    data, incident = event.data, event.correlationid
    return Delivery(
        delivery_id=_bounded(f"{incident}/{receiver.name}/{about}/{event.id}"),
        incident_id=incident,
        execution_id=data.execution_id,
        component=data.component,
        event_id=event.id,
        receiver=receiver.name,
        tier=tier,
        channel=receiver.channel,
        addresses=receiver.addresses,
        lane=_lane(incident, receiver),
        about=about,
        template=about if about != PROGRESS else "",
        message=message,
        caused_at=data.at,
        due=data.at + PROMISES[tier],
        refusal=refusal,
    )


def _lane(incident: str, receiver: Receiver) -> str:
    """One Slack channel or page has one object an incident; a mail has one reader's thread."""
    shared = receiver.channel in ("slack", "status_page")
    place = receiver.address if shared else receiver.name
    return _bounded(f"{incident}/{receiver.channel}/{place}")


def _bounded(identity: str) -> str:
    return bounded_id(identity, _MAX_ID)


def _message(event: Event[RollbackEvent], template: Template | None) -> Message:
    data = event.data
    subject, content = "", ""
    urgency: Urgency = "medium"
    if template is not None:
        facts = {
            "component": data.component,
            "status": data.status or "not known",
            "reason": data.reason,
            "why": data.why or "none given",
            "playbook": data.playbook or "none",
            "execution": data.execution_id,
            "incident": event.correlationid,
            "requested_by": data.requested_by,
        }
        subject, content = template.fill(facts)
        urgency = template.urgency
    return Message(
        subject=subject,
        content=content,
        urgency=urgency,
        phase=one_line(wording.phase_of(data)),
        progress=data.progress,
        eta=wording.eta_of(data),
        outlook=_outlook(data),
        detail=one_line(wording.detail_of(data), _MAX_DETAIL),
    )


def _outlook(data: RollbackEvent) -> Outlook:
    if data.kind == "completed":
        return "good" if data.status == "Success" else "bad"
    if data.kind in ("escalation_required", "step_failed"):
        return "bad"
    if data.kind == "validated" and not all(check.passed for check in data.checks):
        return "bad"
    if data.kind == "refused" and _had_started(data):
        return "good"  # nothing was changed, and nobody is needed: what was opened can be closed
    return "good" if data.kind == "resumed" else "in_progress"
