"""The stages of an incident: from the first breach to the close, with the time between them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.analyzer.domain.document import ExecutionPart, RequestPart, Stage, TriggerPart
from services.analyzer.domain.wording import plural

_Moment = tuple[str, str, datetime]


def stages(
    triggers: Sequence[TriggerPart],
    requests: Sequence[RequestPart],
    executions: Sequence[ExecutionPart],
    closed_at: datetime,
) -> tuple[Stage, ...]:
    """In the order of time; durations in seconds."""
    moments = [*_beginnings(triggers, requests), *_rollbacks(executions)]
    recovered = recovered_at(triggers)
    if recovered is not None:
        moments.append(("recovered", "Recovered: triggers resolved", recovered))
    moments.append(("closed", "Incident closed", closed_at))
    # Stable: what happened in the same instant keeps the order in which it is written here.
    moments.sort(key=lambda one: one[2])
    first, previous, found = moments[0][2], moments[0][2], []
    for key, label, at in moments:
        found.append(
            Stage(
                key=key,
                label=label,
                at=at,
                since_previous_s=round((at - previous).total_seconds(), 3),
                since_first_s=round((at - first).total_seconds(), 3),
            )
        )
        previous = at
    return tuple(found)


def recovered_at(triggers: Sequence[TriggerPart]) -> datetime | None:
    """When the last trigger was over; None where none fired, or one is not over."""
    ends = [one.ended_at for one in triggers]
    if not ends or None in ends:
        return None
    return max(end for end in ends if end is not None)


def _beginnings(triggers: Sequence[TriggerPart], requests: Sequence[RequestPart]) -> list[_Moment]:
    moments: list[_Moment] = []
    if triggers:
        first = min(triggers, key=lambda one: one.began)
        moments.append(("began", f"Breach began: {first.metric}", first.began))
    for trigger in triggers:
        also = "Also fired" if trigger.absorbed and len(triggers) > 1 else "Trigger fired"
        moments.append(("fired", f"{also}: {trigger.trigger}", trigger.fired_at))
    asked = [one for one in requests if one.kind == "rollback"]
    moments.extend(("requested", f"Rollback requested by {one.issued_by}", one.at) for one in asked)
    return moments


def _rollbacks(executions: Sequence[ExecutionPart]) -> list[_Moment]:
    moments: list[_Moment] = []
    for one in executions:
        if one.status == "planned":
            moments.append(("planned", "Rollback planned (shadow mode)", one.started_at))
            continue
        moments.append(("started", f"Rollback started: {one.playbook or one.component}", one.started_at))
        for step in one.steps:
            if step.ended_at is not None:
                words = step.status.replace("_", " ")
                moments.append(("step", f"Step {step.index}, {step.id}: {words}", step.ended_at))
        if one.validated_at is not None:
            passed = sum(check.passed for check in one.checks)
            words = f"Validated: {passed} of {plural(len(one.checks), 'check')} passed"
            moments.append(("validated", words, one.validated_at))
        if one.ended_at is not None:
            moments.append(("completed", f"Rollback completed: {one.status}", one.ended_at))
    return moments
