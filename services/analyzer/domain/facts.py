"""What the analyzer remembers of an event: as little as deciding about an incident needs.

A fact is a value; an incident is a set of facts. What holds for the set holds whatever the
order in which the events came from the different topics.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.commands import CloseIncidentCommand, RollbackCommand
from schemas.incidents import IncidentEvent
from schemas.notifications import DeliveryEvent, DeliveryKind
from schemas.registry import AnyEvent
from schemas.rollbacks import RollbackEvent, RollbackKind, RollbackStatus
from schemas.triggers import TriggerEvent, TriggerKind

INITIATED = "rollback_initiated"
"""What the notifier tells of a rollback's start."""

_NOT_OF_AN_END = (INITIATED, "rollback_planned", "rollback_refused")


class Place(BaseModel):
    """Where a record is in the log."""

    model_config = ConfigDict(frozen=True)

    topic: str
    partition: int
    offset: int


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True)

    event_id: str
    place: Place
    at: datetime
    component: str
    appended_at: datetime | None = None
    """The time of its record: the broker's, so it compares between topics whoever wrote them."""

    @property
    def came_at(self) -> datetime:
        return self.appended_at or self.at


class TriggerFact(_Fact):
    """A trigger that asks for a rollback; ``at`` is T."""

    topic: Literal["triggers"] = "triggers"
    kind: TriggerKind
    trigger_id: str
    began: datetime
    partition: int | None = None
    """The partition of the metrics topic that the evidence is on."""

    @property
    def over(self) -> bool:
        return self.kind in ("resolved", "superseded")


class CommandFact(_Fact):
    """A person's request: to roll back, or to close the incident ``target``."""

    topic: Literal["commands"] = "commands"
    kind: Literal["rollback", "close_incident"]
    target: str
    expires_at: datetime

    @property
    def expired(self) -> bool:
        """Whether it came too late to be heeded."""
        return self.came_at > self.expires_at


class RollbackFact(_Fact):
    """An entry of an execution's journal, or of a request that led to none."""

    topic: Literal["rollbacks"] = "rollbacks"
    kind: RollbackKind
    correlation: str
    execution_id: str
    sequence: int
    requested_by: str
    status: RollbackStatus | None = None

    @property
    def answers(self) -> bool:
        """Whether it says that there will be no execution."""
        return self.kind in ("refused", "absorbed")

    @property
    def terminal(self) -> bool:
        return self.kind in ("completed", "planned")


class DeliveryFact(_Fact):
    """A delivery that is settled, one way or the other."""

    topic: Literal["notifications"] = "notifications"
    kind: DeliveryKind
    incident_id: str
    execution_id: str
    receiver: str
    about: str

    @property
    def of_an_end(self) -> bool:
        """Whether it told how a rollback ended: ``rollback_completed``, ``rollback_failed``, …"""
        return self.about.startswith("rollback_") and self.about not in _NOT_OF_AN_END


Fact = Annotated[TriggerFact | CommandFact | RollbackFact | DeliveryFact, Field(discriminator="topic")]

_OF_THE_EXECUTOR = ("paused", "resumed")
_TOLD_OF_NO_INCIDENT = ("rollbacks_paused", "rollbacks_resumed", "evaluation_stopped", "evaluation_resumed")


def fact_of(event: AnyEvent, place: Place, appended_at: datetime | None = None) -> Fact | None:
    """The fact of an event; None if it belongs to no incident (a pause, an outage of the
    monitor, a trigger that only notifies)."""
    data = event.data
    common = {"event_id": event.id, "place": place, "component": event.subject, "appended_at": appended_at}
    if isinstance(data, TriggerEvent):
        return _trigger_fact(data, common)
    if isinstance(data, RollbackCommand | CloseIncidentCommand):
        target = data.incident_id if isinstance(data, CloseIncidentCommand) else event.id
        return CommandFact(
            **common, at=data.issued_at, kind=data.kind, target=target, expires_at=data.expires_at
        )
    if isinstance(data, RollbackEvent) and data.kind not in _OF_THE_EXECUTOR:
        return RollbackFact(
            **common,
            at=data.at,
            kind=data.kind,
            correlation=event.correlationid,
            execution_id=data.execution_id,
            sequence=data.sequence,
            requested_by=data.requested_by,
            status=data.status,
        )
    if isinstance(data, DeliveryEvent) and data.about not in _TOLD_OF_NO_INCIDENT:
        return DeliveryFact(
            **common,
            at=data.at,
            kind=data.kind,
            incident_id=data.incident_id,
            execution_id=data.execution_id,
            receiver=data.receiver,
            about=data.about,
        )
    return None


def _trigger_fact(data: TriggerEvent, common: dict[str, object]) -> TriggerFact | None:
    if data.action.kind != "rollback":
        return None
    return TriggerFact.model_validate(
        {
            **common,
            "at": data.at,
            "kind": data.kind,
            "trigger_id": data.trigger_id,
            "began": data.began,
            "partition": data.evidence.partition if data.evidence else None,
        }
    )


def keys_of(fact: Fact) -> tuple[str, ...]:
    """The ids by which a fact finds its incident; the first is the incident it names itself."""
    match fact:
        case TriggerFact():
            return (fact.trigger_id,)
        case CommandFact():
            return (fact.target,)
        case RollbackFact(kind="absorbed") | RollbackFact(kind="refused"):
            # Its execution id is only the request's own: see schemas.rollbacks.
            return (fact.correlation, fact.requested_by)
        case RollbackFact():
            return (fact.correlation, fact.execution_id)
        case DeliveryFact():
            return (fact.incident_id,)


def opens(fact: Fact) -> bool:
    """Whether there is an incident once this fact is known."""
    match fact:
        case TriggerFact():
            return fact.kind in ("fired", "firing")
        case CommandFact():
            return fact.kind == "rollback"
        case RollbackFact():
            # What a refusal answers opens the incident, or nothing does: a pause can be refused, too.
            return not fact.answers
        case DeliveryFact():
            return False


def belongs(event: AnyEvent, members: frozenset[str]) -> bool:
    """Whether an event is of the incident whose ids are ``members``."""
    if isinstance(event.data, IncidentEvent):
        return False
    fact = fact_of(event, Place(topic="", partition=0, offset=0))
    return fact is not None and not members.isdisjoint(keys_of(fact))
