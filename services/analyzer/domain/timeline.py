"""The timeline: every event of the incident in words, with its place in the log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, NamedTuple

from schemas.commands import CloseIncidentCommand, Command
from schemas.logs import LogRecord
from schemas.notifications import DeliveryEvent
from schemas.registry import AnyEvent
from schemas.rollbacks import RollbackEvent, Step
from schemas.triggers import TriggerEvent
from services.analyzer.domain.document import Entry
from services.analyzer.domain.evidence import EvidenceRecord
from services.analyzer.domain.wording import duration, quantity

Tone = Literal["neutral", "bad", "good", "act", "tell"]


class Occurred(NamedTuple):
    """An event of the incident with the record that carries it."""

    record: EvidenceRecord
    event: AnyEvent


class Line(NamedTuple):
    """A log line with the record that carries it."""

    record: EvidenceRecord
    log: LogRecord


def timeline(events: Iterable[Occurred], lines: Iterable[Line]) -> tuple[Entry, ...]:
    """Sorted by (time, topic, partition, offset); an event that was sent twice stands once."""
    entries: dict[str, Entry] = {}
    for record, event in events:
        entries.setdefault(event.id, _entry(record, event))
    shown = [*entries.values(), *(_log_entry(record, log) for record, log in lines)]
    return tuple(sorted(shown, key=lambda one: (one.at, one.topic, one.partition, one.offset)))


def happened_at(event: AnyEvent) -> datetime:
    """When what an event tells of happened: T of a trigger, else the writer's time of it."""
    data = event.data
    if isinstance(data, TriggerEvent | RollbackEvent | DeliveryEvent):
        return data.at
    return data.issued_at if isinstance(data, Command) else event.time


def _entry(record: EvidenceRecord, event: AnyEvent) -> Entry:
    tone, what, why = _words(event)
    return Entry(
        at=happened_at(event),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        component=event.subject,
        event_id=event.id,
        kind=f"{event.data.topic}.{event.data.kind}",
        tone=tone,
        what=what,
        why=why,
    )


def _log_entry(record: EvidenceRecord, log: LogRecord) -> Entry:
    return Entry(
        at=log.time,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        component=log.component,
        event_id=None,
        kind="logs.line",
        tone="neutral",
        what=f"Log, {log.severity.lower()}: {log.body}",
        why="",
    )


def _words(event: AnyEvent) -> tuple[Tone, str, str]:
    data = event.data
    if isinstance(data, TriggerEvent):
        return _trigger_words(data)
    if isinstance(data, RollbackEvent):
        return _rollback_words(data)
    if isinstance(data, DeliveryEvent):
        return _delivery_words(data)
    if isinstance(data, CloseIncidentCommand):
        return "act", f"{data.issued_by} asked to close the incident", data.reason
    if isinstance(data, Command):
        mode = getattr(data, "mode", "")
        return "act", f"{data.issued_by} asked for a rollback ({mode})", data.reason
    return "neutral", event.type, ""


def _trigger_words(data: TriggerEvent) -> tuple[Tone, str, str]:
    value = "no data" if data.value is None else quantity(data.value, data.metric)
    words: dict[str, tuple[Tone, str]] = {
        "fired": ("bad", f"Trigger {data.trigger} fired: {data.metric} {value}, {data.condition}"),
        "firing": ("bad", f"Trigger {data.trigger} is still firing: {value}"),
        "no_data": ("bad", f"Trigger {data.trigger} is firing without data"),
        "resolved": ("good", f"Trigger {data.trigger} resolved: {value}"),
        "superseded": ("neutral", f"Trigger {data.trigger} was superseded: its definition changed"),
    }
    return *words[data.kind], data.why


def _rollback_words(data: RollbackEvent) -> tuple[Tone, str, str]:
    step = _step_words(data.step)
    failed = sum(not check.passed for check in data.checks)
    passed = len(data.checks) - failed
    words: dict[str, tuple[Tone, str]] = {
        "planned": ("act", f"Rollback planned, not carried out (shadow mode): playbook {data.playbook}"),
        "started": ("act", f"Rollback started: playbook {data.playbook}"),
        "step_started": ("act", f"{step} begins"),
        "step_completed": ("good", f"{step}: {_status(data.step)}"),
        "step_failed": ("bad", f"{step} failed"),
        "undo_started": ("act", f"Undo of {step[:1].lower()}{step[1:]} begins"),
        "step_undone": ("act", f"{step} was undone"),
        "held": ("neutral", "Rollback held between two steps"),
        "continued": ("act", "Rollback continues"),
        "owner_changed": ("neutral", "Another executor took the rollback over"),
        "validated": (
            "bad" if failed else "good",
            f"Validation: {passed} of {len(data.checks)} checks passed",
        ),
        "completed": (
            "good" if data.status == "Success" else "bad",
            f"Rollback completed: {data.status}",
        ),
        "escalation_required": ("bad", "A person is required"),
        "refused": ("neutral", f"Rollback refused: {data.reason}"),
        "absorbed": ("neutral", f"Request {data.requested_by} absorbed into the running rollback"),
    }
    tone, what = words.get(data.kind, ("neutral", f"Rollback: {data.kind}"))
    return tone, what, data.why


def _step_words(step: Step | None) -> str:
    return "Step" if step is None else f"Step {step.index} of {step.of}, {step.id}"


def _status(step: Step | None) -> str:
    if step is None:
        return "done"
    took = "" if step.duration_s is None else f" in {duration(step.duration_s)}"
    return step.status.replace("_", " ") + took


def _delivery_words(data: DeliveryEvent) -> tuple[Tone, str, str]:
    about = data.about.replace("_", " ")
    who = data.receiver.replace("_", " ")
    channel = data.channel.replace("_", " ")
    if data.kind == "delivered":
        return "tell", f"Told {who} by {channel}: {about}", data.reason
    if data.kind == "failed":
        return "bad", f"Could not tell {who} by {channel}: {about}", data.reason
    return "neutral", f"Not configured: {who} ({about})", data.reason
