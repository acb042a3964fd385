"""Triggers: what the monitor decided about one (trigger, group), and on what evidence.

A trigger's id is deterministic (trigger, group, start of the breach). Each event about it has
the id ``<trigger_id>/<kind>/<T>``; readers order a trigger's events by ``at`` (T), so that
reading or emitting one twice changes nothing.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from schemas.envelope import Component, EventId, KindedData

Severity = Literal["low", "medium", "high", "critical"]
TriggerKind = Literal["fired", "firing", "no_data", "resolved", "superseded"]
ActionKind = Literal["rollback", "validate", "notify", "health_check"]


class TriggerAction(BaseModel):
    """What a trigger asks for: ``target`` is a component for rollback, else the action's name."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: ActionKind
    target: str


class Evidence(BaseModel):
    """Where the deciding samples are: a range of offsets on one partition of the metrics topic."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    samples: int


class TriggerMember(BaseModel):
    """One of those that a compound trigger is made of: a trigger, by its id and name, or a report, by
    its event's id and kind; with its component, and when it fired or was reported."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: EventId
    name: str
    component: Component
    at: AwareDatetime


class TriggerEvent(KindedData):
    """``fired`` once, ``firing`` every minute while it lasts, ``no_data`` while it fires without
    samples, ``resolved`` when it is over, ``superseded`` when its definition changed.

    ``threshold`` is the number compared with; ``condition`` the whole condition in words
    (``> 3000 for 5m``). ``value`` is None where there was no data. ``at`` is T, the second
    evaluated; ``began`` the first second of the breach.

    ``members`` are the earliest that made a compound trigger fire; any other trigger has none. Of a
    compound one ``component`` is ``full_system``, and ``value`` counts components or reports.
    """

    topic: ClassVar[str] = "triggers"

    kind: TriggerKind
    trigger_id: EventId
    trigger: str
    component: Component
    group: dict[str, str]
    metric: str
    severity: Severity
    at: AwareDatetime
    began: AwareDatetime
    value: float | None
    threshold: float
    condition: str
    reason: str
    why: str
    action: TriggerAction
    immediate: bool = False
    rule_hash: str
    evidence: Evidence | None = None
    members: tuple[TriggerMember, ...] = ()


class GroupOverflow(KindedData):
    """A trigger has as many groups on one partition as its ``max_groups`` allows: this one, and every
    further one, is not evaluated. Told once for each trigger, definition and partition.

    ``at`` is the second of the first sample that was refused.
    """

    topic: ClassVar[str] = "triggers"

    kind: Literal["overflow"]
    trigger: str
    component: Component
    group: dict[str, str]
    metric: str
    partition: int
    limit: int
    at: AwareDatetime
    why: str
    rule_hash: str
