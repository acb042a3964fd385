"""Rollbacks: every journal entry of every execution, in order.

``sequence`` counts an execution's entries from 1; an event's id is
``<execution_id>/<sequence>``. A request that leads to no execution (refused, absorbed) has
entries of its own, under the id of what asked for it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.commands import RollbackMode
from schemas.envelope import Component, EventId, KindedData

RollbackStatus = Literal["Success", "PartialFailure", "Failed", "CriticalFailure"]
PlaybookMode = Literal["shadow", "approve", "auto"]
RollbackKind = Literal[
    "planned",  # shadow mode: what would be done
    "started",
    "step_started",  # the intent is journaled, the act follows
    "step_completed",
    "step_failed",
    "undo_started",  # the intent to undo a step is journaled, the act follows
    "step_undone",
    "held",  # paused between two steps
    "continued",
    "owner_changed",  # another executor took over after the lease expired
    "validated",
    "completed",  # terminal; status says how it ended
    "escalation_required",
    "refused",  # no execution: reason says why
    "absorbed",  # into the execution that is running for the component
    "paused",  # the whole executor, by a command
    "resumed",
]
StepStatus = Literal["running", "already_satisfied", "done", "failed", "undone", "skipped", "unknown"]


class Step(BaseModel):
    """One step as it stands after this entry. ``index`` counts from 1 up to ``of``."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    index: int = Field(ge=1)
    of: int = Field(ge=1)
    action: str
    status: StepStatus
    attempt: int = Field(default=1, ge=1)
    duration_s: float | None = None
    detail: str = ""


class Check(BaseModel):
    """One check of a validation: what was measured, and the limit it was held against."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    passed: bool
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    detail: str = ""


class PlannedStep(BaseModel):
    """One step of a plan, in words a person can read before anything is done."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    action: str
    description: str
    reversible: bool
    fenced: bool


class RollbackEvent(KindedData):
    """One journal entry.

    ``progress`` is a percentage of steps behind us (0 to 100); ``estimated_completion`` an
    estimate from the steps' usual durations; ``requested_by`` the trigger's or the command's
    id; ``epoch`` the lease under which it was written; ``into`` the execution that absorbed the request.
    """

    topic: ClassVar[str] = "rollbacks"

    kind: RollbackKind
    execution_id: EventId
    sequence: int = Field(ge=1)
    component: Component
    requested_by: EventId
    reason: str
    why: str = ""
    at: AwareDatetime
    playbook: str | None = None
    plan_hash: str | None = None
    playbook_mode: PlaybookMode | None = None
    mode: RollbackMode | None = None
    epoch: int | None = None
    into: EventId | None = None
    status: RollbackStatus | None = None
    progress: Annotated[int, Field(ge=0, le=100)] = 0
    estimated_completion: AwareDatetime | None = None
    step: Step | None = None
    plan: tuple[PlannedStep, ...] = ()
    checks: tuple[Check, ...] = ()
