"""What is said where the plan has no words: every announcement but the plan's own two.

The plan's "completed successfully" is for Success alone. These say what happened and what it
means for the reader, and claim nothing that the event does not hold. A plan may replace any of
them under ``notification_templates``.
"""

from __future__ import annotations

from datetime import datetime

from schemas.rollbacks import RollbackEvent
from services.notifier.domain.plan import Template

_FACTS = "Component: {component}\nIncident: {incident}\nReason: {reason}\n"
# Customers read the ends, too: they get the outcome, not what the triggers are called.
_NOT_RESTORED = (
    "Status: {status}\nPerformance: Not confirmed as restored\nNext Steps: This incident stays open\n"
)

OWN_TEMPLATES: tuple[Template, ...] = (
    Template(
        "rollback_partial_failure",
        "System Rollback Incomplete - {component}",
        "high",
        "The rollback of {component} ended incompletely.\n\n" + _NOT_RESTORED,
    ),
    Template(
        "rollback_failed",
        "System Rollback Failed - {component}",
        "high",
        "The rollback of {component} failed.\n\n" + _NOT_RESTORED,
    ),
    Template(
        "rollback_critical_failure",
        "System Rollback Failed Critically - {component}",
        "critical",
        "The rollback of {component} failed critically.\n\n" + _NOT_RESTORED,
    ),
    Template(
        "rollback_called_off",
        "System Rollback Called Off - {component}",
        "medium",
        "The rollback of {component} was called off before it changed anything.\n\n"
        "Status: Nothing was changed\nNext Steps: None; a new trigger begins a new rollback\n",
    ),
    Template(
        "escalation_required",
        "Escalation Required - Rollback of {component}",
        "critical",
        "The rollback of {component} needs a person now.\n\n" + _FACTS + "Details: {why}\n",
    ),
    Template(
        "rollback_planned",
        "Rollback Planned, Not Carried Out - {component}",
        "low",
        "Shadow mode: a rollback of {component} was planned and nothing was done.\n\n" + _FACTS,
    ),
    Template(
        "rollback_refused",
        "Rollback Refused - {component}",
        "medium",
        "A rollback of {component} was asked for and refused; nothing was done.\n\n"
        + _FACTS
        + "Asked for by: {requested_by}\nDetails: {why}\n",
    ),
    Template(
        "rollbacks_paused",
        "Rollbacks Paused",
        "medium",
        "Rollbacks are paused: none starts, and running ones hold between two steps.\n\nReason: {reason}\n",
    ),
    Template(
        "rollbacks_resumed",
        "Rollbacks Resumed",
        "medium",
        "Rollbacks are no longer paused.\n\nReason: {reason}\n",
    ),
    # Here {component} says which partitions of the metrics topic it is about.
    Template(
        "evaluation_stopped",
        "Triggers Are Not Evaluated - {component}",
        "critical",
        "The monitor does not evaluate {component} of the metrics topic: a bad release of what reports "
        "there goes unnoticed, and no rollback of it begins by itself.\n\n"
        "Reason: {reason}\nDetails: {why}\nNext Steps: Look at the monitor and at Kafka\n",
    ),
    Template(
        "evaluation_resumed",
        "Triggers Are Evaluated Again - {component}",
        "medium",
        "The monitor evaluates {component} of the metrics topic again. What was reported meanwhile is "
        "evaluated now, at its own time.\n",
    ),
)

PLAN_TEMPLATES = ("rollback_initiated", "rollback_completed")
"""What a plan must bring itself."""

_ENDS = {
    "Success": "completed",
    "PartialFailure": "ended incompletely",
    "Failed": "failed",
    "CriticalFailure": "failed critically",
}
_PHASES = {
    "planned": "planned (shadow mode)",
    "started": "initiated",
    "held": "held between two steps",
    "continued": "continued",
    "owner_changed": "taken over by another executor",
    "escalation_required": "escalation required",
    "refused": "refused",
    "paused": "rollbacks paused",
    "resumed": "rollbacks resumed",
}
_STEPS = {
    "step_started": "running",
    "step_completed": "done",
    "step_failed": "failed",
    "undo_started": "being undone",
    "step_undone": "undone",
}


def phase_of(data: RollbackEvent) -> str:
    """Where the rollback is, in a few words."""
    if data.kind == "completed":
        return _ENDS[data.status or "Failed"]
    if data.kind == "validated":
        return "validated" if all(check.passed for check in data.checks) else "validation failed"
    if data.step is not None and data.kind in _STEPS:
        state = "already as wanted" if data.step.status == "already_satisfied" else _STEPS[data.kind]
        return f"step {data.step.index} of {data.step.of}, {data.step.id}: {state}"
    return _PHASES.get(data.kind, data.kind.replace("_", " "))


def detail_of(data: RollbackEvent) -> str:
    """What an on-call wants to read beside the phase: the failed checks, or the step's detail."""
    failed = [f"{check.name}: {check.detail or 'failed'}" for check in data.checks if not check.passed]
    if failed:
        return "; ".join(failed)
    if data.step is not None and data.step.detail:
        return data.step.detail
    troubled = data.kind == "completed" and data.status != "Success"
    return data.why if troubled or data.kind in ("started", "held", "owner_changed", "step_failed") else ""


def eta_of(data: RollbackEvent) -> str:
    """The estimated completion, or when it ended."""
    if data.kind == "completed":
        return f"ended {_clock(data.at)}"
    if data.estimated_completion is None:
        return "not known"
    return _clock(data.estimated_completion)


def _clock(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
