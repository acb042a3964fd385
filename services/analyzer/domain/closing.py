"""When an incident may be closed, and what it waits for until then.

The decision is a function of the incident's facts and the time. It never looks at what the
notifier is configured to send: whom it told of a rollback's start shows whom it will tell of
the end (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from schemas.rollbacks import RollbackStatus
from services.analyzer.domain.facts import (
    INITIATED,
    CommandFact,
    DeliveryFact,
    Fact,
    RollbackFact,
    TriggerFact,
)
from services.analyzer.domain.incident import Incident

Reason = Literal[
    # it may be closed
    "settled",
    "closed_by_person",
    "deliveries_overdue",
    "never_opened",
    # it waits
    "execution_running",
    "command_unanswered",
    "needs_person",
    "trigger_active",
    "deliveries_pending",
    "settling",
]
_SEVERITY: tuple[RollbackStatus, ...] = ("Success", "PartialFailure", "Failed", "CriticalFailure")
_NEEDS_PERSON = ("Failed", "CriticalFailure")


@dataclass(frozen=True, slots=True)
class ClosingRules:
    """``settle``: nothing new for so long. ``close_after``: deliveries hold it open no longer."""

    settle: timedelta
    close_after: timedelta


@dataclass(frozen=True, slots=True)
class Assessment:
    """``why`` is ``reason`` in words, for the person who asks why it is still open."""

    closable: bool
    reason: Reason
    why: str
    status: RollbackStatus | None


def assess(incident: Incident, now: datetime, rules: ClosingRules) -> Assessment:
    """Whether the incident may be closed now."""
    status = worst(fact.status for fact in incident.of(RollbackFact) if fact.kind == "completed")
    waiting = _running(incident) or _unanswered(incident, now, rules) or _unresolved(incident, status)
    if waiting is not None:
        return Assessment(False, *waiting, status)
    return _settled(incident, now, rules, status)


def worst(statuses: Iterable[RollbackStatus | None]) -> RollbackStatus | None:
    """The most severe of some ends; None where there is none."""
    return max((one for one in statuses if one is not None), key=_SEVERITY.index, default=None)


_Waiting = tuple[Reason, str]


def _running(incident: Incident) -> _Waiting | None:
    # An execution that was no longer wanted when it was about to begin ends in a refusal.
    ended = {fact.execution_id for fact in incident.of(RollbackFact) if fact.terminal or fact.answers}
    running = [execution for execution in incident.executions if execution not in ended]
    if running:
        return "execution_running", f"The rollback {running[0]} has not ended"
    return None


def _unanswered(incident: Incident, now: datetime, rules: ClosingRules) -> _Waiting | None:
    answered = {fact.requested_by for fact in incident.of(RollbackFact)}
    for fact in incident.of(CommandFact):
        if fact.kind != "rollback" or fact.event_id in answered:
            continue
        if now < fact.expires_at + rules.close_after:
            return "command_unanswered", f"The executor has not answered the command {fact.event_id}"
    return None


def _unresolved(incident: Incident, status: RollbackStatus | None) -> _Waiting | None:
    """A person's word stands for the resolution of triggers, and is required after a failure."""
    if _closed_by_person(incident):
        return None
    if status in _NEEDS_PERSON:
        return (
            "needs_person",
            f"The rollback ended in {status}: a person looks into it and then closes the incident "
            f"with `backout incidents close`{_unheeded(incident)}",
        )
    for trigger in incident.triggers:
        last = max(
            (fact for fact in incident.of(TriggerFact) if fact.trigger_id == trigger),
            key=lambda fact: (fact.at, fact.place.offset),
        )
        if not last.over:
            return "trigger_active", f"The trigger {trigger} is not resolved{_unheeded(incident)}"
    return None


def _closed_by_person(incident: Incident) -> bool:
    """Whether a person asked for the close, in time, and knowing of every failure."""
    failed_at = _last_failure(incident)
    return any(
        not fact.expired and (failed_at is None or fact.came_at > failed_at) for fact in _closes(incident)
    )


def _closes(incident: Incident) -> list[CommandFact]:
    return [fact for fact in incident.of(CommandFact) if fact.kind == "close_incident"]


def _last_failure(incident: Incident) -> datetime | None:
    ends = (fact for fact in incident.of(RollbackFact) if fact.kind == "completed")
    return max((end.came_at for end in ends if end.status in _NEEDS_PERSON), default=None)


def _unheeded(incident: Incident) -> str:
    """Why the last request to close the incident does not close it; empty where there was none."""
    last = max(_closes(incident), key=lambda fact: (fact.came_at, fact.event_id), default=None)
    if last is None:
        return ""
    reason = "came after it had expired" if last.expired else "came before the rollback failed"
    return f" (the request {last.event_id} {reason})"


def _settled(
    incident: Incident, now: datetime, rules: ClosingRules, status: RollbackStatus | None
) -> Assessment:
    met_at = max((fact.at for fact in incident.facts.values() if _is_condition(fact)), default=None)
    met_at = met_at or max(fact.at for fact in incident.facts.values())
    told_at = max((fact.at for fact in incident.of(DeliveryFact)), default=met_at)
    overdue = now >= met_at + max(rules.close_after, rules.settle)
    if not overdue and now < max(met_at, told_at) + rules.settle:
        return Assessment(False, "settling", "Waiting for what may still come of its end", status)
    if not incident.opened:
        return Assessment(True, "never_opened", "No trigger and no command began it", status)
    untold = _untold(incident)
    if untold:
        why = f"Not told of the rollback's end: {', '.join(untold)}"
        reason: Reason = "deliveries_overdue" if overdue else "deliveries_pending"
        return Assessment(overdue, reason, why, status)
    if _closed_by_person(incident):
        return Assessment(True, "closed_by_person", "A person closed it", status)
    rollbacks = "Rollbacks ended" if status is not None else "No rollback was carried out"
    return Assessment(True, "settled", f"{rollbacks}, triggers resolved, people told", status)


def _is_condition(fact: Fact) -> bool:
    """Whether the fact is one of those that an incident's close waits for, deliveries apart."""
    match fact:
        case TriggerFact():
            return fact.over
        case RollbackFact():
            return fact.terminal or fact.answers
        case CommandFact():
            return fact.kind == "close_incident" and not fact.expired
        case DeliveryFact():
            return False


def _untold(incident: Incident) -> list[str]:
    """The receivers that were told of a rollback's start, and not yet of its end."""
    untold: list[str] = []
    for end in incident.of(RollbackFact):
        if end.kind != "completed":
            continue
        deliveries = [fact for fact in incident.of(DeliveryFact) if fact.execution_id == end.execution_id]
        told = {fact.receiver for fact in deliveries if fact.of_an_end}
        expected = {fact.receiver for fact in deliveries if fact.about == INITIATED}
        missing = expected - told if told else expected or {"anybody"}
        untold.extend(sorted(missing))
    return untold
