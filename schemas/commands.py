"""Commands: what people ask the control plane to do.

A command's event id is its identity: the same id with the same body is the same command,
with another body it is refused.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, StringConstraints

from schemas.envelope import Component, EventId, KindedData

RollbackMode = Literal["planned", "emergency"]
MAX_REASON = 2_000
"""Characters of a command's reason."""
Text = Annotated[str, StringConstraints(max_length=MAX_REASON)]
FULL_SYSTEM = "full_system"
"""The component that stands for all of them: ``rollback --emergency`` without a component."""


class Command(KindedData):
    topic: ClassVar[str] = "commands"

    issued_by: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    issued_at: AwareDatetime
    expires_at: AwareDatetime
    reason: Text = ""


class RollbackCommand(Command):
    """Roll ``component`` back. An emergency skips gates (cool-down, pause, approval)."""

    kind: Literal["rollback"] = "rollback"
    component: Component
    mode: RollbackMode = "planned"
    preserve_data: bool = False


class PauseCommand(Command):
    """Start nothing, and hold running executions between steps, until a resume."""

    kind: Literal["pause"] = "pause"


class ResumeCommand(Command):
    kind: Literal["resume"] = "resume"


class CloseIncidentCommand(Command):
    """A person closes an incident that does not close by itself."""

    kind: Literal["close_incident"] = "close_incident"
    incident_id: EventId
