"""What a report says, as values. ``report.json`` is exactly this; Markdown and HTML are views of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from schemas.incidents import OffsetRange
from schemas.triggers import Evidence

Phase = Literal["before", "during", "after"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Entry(_Part):
    """One record of the timeline, with its place in the log."""

    at: datetime
    topic: str
    partition: int
    offset: int
    component: str
    event_id: str | None
    kind: str
    tone: Literal["neutral", "bad", "good", "act", "tell"]
    what: str
    why: str


class Stage(_Part):
    """An instant of the incident; durations in seconds."""

    key: str
    label: str
    at: datetime
    since_previous_s: float
    since_first_s: float


class TriggerPart(_Part):
    """What fired, on which evidence."""

    trigger_id: str
    trigger: str
    component: str
    metric: str
    severity: str
    value: float | None
    threshold: float
    condition: str
    reason: str
    why: str
    immediate: bool
    began: datetime
    fired_at: datetime
    ended_at: datetime | None
    ended: Literal["resolved", "superseded"] | None
    absorbed: bool
    rule_hash: str
    evidence: Evidence | None


class RequestPart(_Part):
    """What a person asked for."""

    command_id: str
    kind: str
    at: datetime
    issued_by: str
    reason: str
    mode: str | None


class StepPart(_Part):
    """One step of an execution, as it ended."""

    id: str
    index: int
    of: int
    action: str
    status: str
    attempts: int
    started_at: datetime
    ended_at: datetime | None
    duration_s: float | None
    detail: str


class CheckPart(_Part):
    """One check of a validation."""

    name: str
    passed: bool
    value: float | None
    limit: float | None
    unit: str
    detail: str


class ExecutionPart(_Part):
    """One run of a playbook."""

    execution_id: str
    component: str
    playbook: str | None
    plan_hash: str | None
    playbook_mode: str | None
    mode: str | None
    requested_by: str
    status: str | None
    reason: str
    why: str
    started_at: datetime
    ended_at: datetime | None
    duration_s: float | None
    validated_at: datetime | None
    steps: tuple[StepPart, ...]
    checks: tuple[CheckPart, ...]
    escalations: tuple[str, ...]


class DeliveryPart(_Part):
    """One delivery. ``after_s``: how long after the event that it tells of."""

    delivery_id: str
    receiver: str
    tier: str
    channel: str
    about: str
    status: str
    at: datetime
    due: datetime
    in_time: bool
    after_s: float | None
    attempts: int
    reason: str


class Figures(_Part):
    """A metric in one phase."""

    samples: int
    median: float | None
    low: float | None
    high: float | None
    increase: float | None
    """Of a counter: by how much it grew, resets left out."""


class MetricPart(_Part):
    """A metric of a component before, during and after; ``points`` are (epoch seconds, value),
    thinned out so that peaks remain."""

    component: str
    metric: str
    labels: str
    unit: str
    threshold: float | None
    condition: str
    before: Figures
    during: Figures
    after: Figures
    worst: float | None
    worst_at: datetime | None
    beyond_threshold_s: float | None
    points: tuple[tuple[float, float], ...]


class Finding(_Part):
    """A log line that was recorded around the start: an observation, not a cause."""

    at: datetime
    severity: str
    component: str
    body: str
    attributes: str
    topic: str
    partition: int
    offset: int


class Report(_Part):
    """The whole report."""

    version: Literal[1] = 1
    incident_id: str
    component: str
    components: tuple[str, ...]
    outcome: str | None
    outcome_words: str
    closed_reason: str
    closed_why: str
    opened_at: datetime
    began: datetime
    recovered_at: datetime | None
    closed_at: datetime
    summary: str
    stages: tuple[Stage, ...]
    triggers: tuple[TriggerPart, ...]
    requests: tuple[RequestPart, ...]
    executions: tuple[ExecutionPart, ...]
    refusals: tuple[str, ...]
    metrics: tuple[MetricPart, ...]
    deliveries: tuple[DeliveryPart, ...]
    findings: tuple[Finding, ...]
    findings_left_out: int
    notes: tuple[str, ...]
    """What the reader has to know of the evidence: where it ends before the incident."""
    timeline: tuple[Entry, ...]
    ranges: tuple[OffsetRange, ...]
    records: dict[str, int]

    def to_json(self) -> bytes:
        """Canonical: the same report is the same bytes."""
        return (self.model_dump_json(indent=2) + "\n").encode()
