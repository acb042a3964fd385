"""The account of an incident from its events: what fired, what was asked and done, who was told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from schemas.commands import CloseIncidentCommand, RollbackCommand
from schemas.notifications import DeliveryEvent
from schemas.registry import AnyEvent
from schemas.rollbacks import RollbackEvent
from schemas.triggers import TriggerEvent
from services.analyzer.domain.document import (
    CheckPart,
    DeliveryPart,
    ExecutionPart,
    RequestPart,
    StepPart,
    TriggerPart,
)
from services.analyzer.domain.timeline import happened_at


def trigger_parts(events: Iterable[AnyEvent], incident_id: str) -> tuple[TriggerPart, ...]:
    """Each trigger with its first announcement, and how it ended; ordered by T, not by arrival."""
    by_trigger: dict[str, list[TriggerEvent]] = {}
    for event in events:
        if isinstance(event.data, TriggerEvent):
            by_trigger.setdefault(event.data.trigger_id, []).append(event.data)
    parts = []
    for announced in by_trigger.values():
        announced.sort(key=lambda one: (one.at, one.kind))
        first = next((one for one in announced if one.kind == "fired"), announced[0])
        end = next((one for one in announced if one.kind in ("resolved", "superseded")), None)
        shared = first.model_dump(include=TriggerPart.model_fields.keys() & TriggerEvent.model_fields.keys())
        parts.append(
            TriggerPart.model_validate(
                {
                    **shared,
                    "fired_at": first.at,
                    "ended_at": end.at if end else None,
                    "ended": end.kind if end else None,
                    "absorbed": first.trigger_id != incident_id,
                }
            )
        )
    return tuple(sorted(parts, key=lambda one: (one.fired_at, one.trigger_id)))


def request_parts(events: Iterable[AnyEvent]) -> tuple[RequestPart, ...]:
    """What people asked for."""
    parts = [
        RequestPart(
            command_id=event.id,
            kind=event.data.kind,
            at=event.data.issued_at,
            issued_by=event.data.issued_by,
            reason=event.data.reason,
            mode=event.data.mode if isinstance(event.data, RollbackCommand) else None,
        )
        for event in events
        if isinstance(event.data, RollbackCommand | CloseIncidentCommand)
    ]
    return tuple(sorted(parts, key=lambda one: (one.at, one.command_id)))


def execution_parts(events: Iterable[AnyEvent]) -> tuple[ExecutionPart, ...]:
    """Each execution from its journal, in the order of its sequence."""
    journals: dict[str, list[RollbackEvent]] = {}
    for event in events:
        if isinstance(event.data, RollbackEvent) and event.data.kind not in ("refused", "absorbed"):
            journals.setdefault(event.data.execution_id, []).append(event.data)
    parts = [_execution(sorted(journal, key=lambda one: one.sequence)) for journal in journals.values()]
    return tuple(sorted(parts, key=lambda one: (one.started_at, one.execution_id)))


def _execution(journal: Sequence[RollbackEvent]) -> ExecutionPart:
    first = journal[0]
    end = next((one for one in journal if one.kind in ("completed", "planned")), None)
    validated = [one for one in journal if one.kind == "validated"]
    return ExecutionPart(
        execution_id=first.execution_id,
        component=first.component,
        playbook=first.playbook,
        plan_hash=first.plan_hash,
        playbook_mode=first.playbook_mode,
        mode=first.mode,
        requested_by=first.requested_by,
        status="planned" if end is not None and end.kind == "planned" else end.status if end else None,
        reason=end.reason if end else first.reason,
        why=end.why if end else first.why,
        started_at=first.at,
        ended_at=end.at if end else None,
        duration_s=_seconds(first.at, end.at) if end else None,
        validated_at=validated[-1].at if validated else None,
        steps=_steps(journal) or _planned(end),
        checks=tuple(
            CheckPart.model_validate(check.model_dump()) for one in validated for check in one.checks
        ),
        escalations=tuple(one.why or one.reason for one in journal if one.kind == "escalation_required"),
    )


def _planned(end: RollbackEvent | None) -> tuple[StepPart, ...]:
    """In shadow mode the steps that were not begun are what there is to see."""
    if end is None or end.kind != "planned":
        return ()
    return tuple(
        StepPart(
            id=step.id,
            index=number,
            of=len(end.plan),
            action=step.action,
            status="planned",
            attempts=0,
            started_at=end.at,
            ended_at=None,
            duration_s=None,
            detail=step.description,
        )
        for number, step in enumerate(end.plan, start=1)
    )


def _steps(journal: Sequence[RollbackEvent]) -> tuple[StepPart, ...]:
    """A step is as its last entry says; it began with its first."""
    entries: dict[str, list[RollbackEvent]] = {}
    for one in journal:
        if one.step is not None:
            entries.setdefault(one.step.id, []).append(one)
    parts = []
    for of_step in entries.values():
        first, last = of_step[0], of_step[-1]
        step = last.step
        if step is None:
            continue
        settled = [one for one in of_step if one.kind in ("step_completed", "step_failed", "step_undone")]
        ended_at = settled[-1].at if settled else None
        measured = [one.step.duration_s for one in settled if one.step and one.step.duration_s is not None]
        took = measured[-1] if measured else _seconds(first.at, ended_at) if ended_at else None
        parts.append(
            StepPart(
                id=step.id,
                index=step.index,
                of=step.of,
                action=step.action,
                status=step.status,
                attempts=max(one.step.attempt for one in of_step if one.step is not None),
                started_at=first.at,
                ended_at=ended_at,
                duration_s=took,
                detail=step.detail,
            )
        )
    return tuple(sorted(parts, key=lambda one: one.index))


def refusals(events: Iterable[AnyEvent]) -> tuple[str, ...]:
    """Why requests led to no execution, each reason once."""
    found = [
        f"{event.data.reason}: {event.data.why}" if event.data.why else event.data.reason
        for event in events
        if isinstance(event.data, RollbackEvent) and event.data.kind == "refused"
    ]
    return tuple(dict.fromkeys(found))


def delivery_parts(events: Sequence[AnyEvent]) -> tuple[DeliveryPart, ...]:
    """Who was told what, when, and how long after it happened."""
    times = {event.id: happened_at(event) for event in events}
    parts = []
    for event in events:
        data = event.data
        if not isinstance(data, DeliveryEvent):
            continue
        cause = times.get(event.causationid or "")
        parts.append(
            DeliveryPart(
                delivery_id=data.delivery_id,
                receiver=data.receiver,
                tier=data.tier,
                channel=data.channel,
                about=data.about,
                status=data.kind,
                at=data.at,
                due=data.due,
                in_time=data.at <= data.due,
                after_s=None if cause is None else _seconds(cause, data.at),
                attempts=data.attempts,
                reason=data.reason,
            )
        )
    return tuple(sorted(parts, key=lambda one: (one.at, one.delivery_id, one.status)))


def _seconds(begin: datetime, end: datetime) -> float:
    return round((end - begin).total_seconds(), 3)
