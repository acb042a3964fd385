"""The report: a pure function of the closing event and the archived evidence.

Nothing of when or where it is made goes into it, so that every replay gives the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from schemas.incidents import IncidentEvent
from services.analyzer.domain import account
from services.analyzer.domain.document import (
    ExecutionPart,
    Finding,
    MetricPart,
    Report,
    RequestPart,
    TriggerPart,
)
from services.analyzer.domain.evidence import LONGEST, EvidenceRecord, components_of, event_in, log_in, select
from services.analyzer.domain.impact import Window, metric_parts, series_in
from services.analyzer.domain.stages import recovered_at, stages
from services.analyzer.domain.timeline import Line, Occurred, timeline
from services.analyzer.domain.wording import duration, plural, quantity

MAX_FINDINGS = 100
_AROUND_BEFORE = timedelta(minutes=5)
_AROUND_AFTER = timedelta(minutes=1)
_QUIET = frozenset({"trace", "debug", "info"})
_OUTCOMES = {
    "Success": "Rolled back",
    "PartialFailure": "Rolled back in part",
    "Failed": "Rollback failed",
    "CriticalFailure": "Rollback failed critically",
    None: "No rollback carried out",
}


def build_report(closing: IncidentEvent, given: Iterable[EvidenceRecord]) -> Report:
    """The report of a closed incident, from the records of its frozen ranges."""
    records = select(closing, given)
    occurred = _occurred(records)
    events = [one.event for one in occurred]
    triggers = account.trigger_parts(events, closing.incident_id)
    requests = account.request_parts(events)
    executions = account.execution_parts(events)
    found = stages(triggers, requests, executions, closing.at)
    recovered = recovered_at(triggers)
    window = _window(triggers, found[0].at, recovered or _end(executions) or closing.at)
    components = components_of(closing)
    metrics = metric_parts(series_in(records, components), window, triggers)
    lines = _around(records, found[0].at)
    deliveries = account.delivery_parts(events)
    refused = account.refusals(events)
    return Report(
        incident_id=closing.incident_id,
        component=closing.component,
        components=components,
        outcome=closing.status,
        outcome_words=_outcome_words(closing, executions),
        closed_reason=closing.reason,
        closed_why=closing.why,
        opened_at=closing.opened_at,
        began=found[0].at,
        recovered_at=recovered,
        closed_at=closing.at,
        summary=_summary(closing, triggers, requests, executions, metrics, recovered, refused),
        stages=found,
        triggers=triggers,
        requests=requests,
        executions=executions,
        refusals=refused,
        metrics=metrics,
        deliveries=deliveries,
        findings=tuple(_finding(line) for line in lines[:MAX_FINDINGS]),
        notes=_notes(closing, found[0].at),
        findings_left_out=max(0, len(lines) - MAX_FINDINGS),
        timeline=timeline(occurred, lines[:MAX_FINDINGS]),
        ranges=closing.ranges,
        records=dict(sorted(Counter(record.topic for record in records).items())),
    )


def _occurred(records: Iterable[EvidenceRecord]) -> list[Occurred]:
    """The events, each once: of one that was sent again, the first by offset."""
    found: dict[str, Occurred] = {}
    for record in records:
        event = event_in(record) if record.kind not in ("metrics", "logs") else None
        if event is not None:
            known = found.get(event.id)
            if known is None or record.offset < known.record.offset:
                found[event.id] = Occurred(record, event)
    return list(found.values())


def _window(triggers: Sequence[TriggerPart], began: datetime, end: datetime) -> Window:
    """The breach. A second T that was evaluated holds the samples of (T - 1 s, T], so the sample
    with which it began is up to a second older than ``began``."""
    earlier = 0.999 if triggers else 0.0
    return Window(began.timestamp() - earlier, end.timestamp())


def _notes(closing: IncidentEvent, began: datetime) -> tuple[str, ...]:
    if closing.at <= began + LONGEST:
        return ()
    return (
        f"The incident was open for {duration((closing.at - began).total_seconds())}: metrics and logs "
        f"are evidence for the first {duration(LONGEST.total_seconds())} only, events to the end.",
    )


def _end(executions: Sequence[ExecutionPart]) -> datetime | None:
    return max((one.ended_at for one in executions if one.ended_at is not None), default=None)


def _around(records: Iterable[EvidenceRecord], began: datetime) -> list[Line]:
    """Logs of note around the start: warnings and worse, and changes of mode."""
    lines = [Line(record, log) for record in records if record.kind == "logs" and (log := log_in(record))]
    notable = [
        line
        for line in lines
        if began - _AROUND_BEFORE <= line.log.time <= began + _AROUND_AFTER
        and (line.log.severity.lower() not in _QUIET or "mode" in line.log.attributes)
    ]
    return sorted(notable, key=lambda one: (one.log.time, one.record.topic, one.record.offset))


def _finding(line: Line) -> Finding:
    return Finding(
        at=line.log.time,
        severity=line.log.severity,
        component=line.log.component,
        body=line.log.body,
        attributes=json.dumps(line.log.attributes, sort_keys=True, ensure_ascii=False)
        if line.log.attributes
        else "",
        topic=line.record.topic,
        partition=line.record.partition,
        offset=line.record.offset,
    )


def _outcome_words(closing: IncidentEvent, executions: Sequence[ExecutionPart]) -> str:
    if closing.status is None and any(one.status == "planned" for one in executions):
        return "Rollback planned only (shadow mode)"
    return _OUTCOMES[closing.status]


def _summary(
    closing: IncidentEvent,
    triggers: Sequence[TriggerPart],
    requests: Sequence[RequestPart],
    executions: Sequence[ExecutionPart],
    metrics: Sequence[MetricPart],
    recovered: datetime | None,
    refused: Sequence[str],
) -> str:
    """What a person reads first, in whole sentences."""
    sentences = [_what_began(closing, triggers, requests, metrics), *map(_what_was_done, executions)]
    if not executions and refused:
        sentences.append(f"No rollback was carried out ({refused[0]}).")
    if recovered is not None and triggers:
        began = min(one.began for one in triggers)
        took = duration((recovered - began).total_seconds())
        verb = "resolved" if all(one.ended == "resolved" for one in triggers) else "was over"
        noun = "The trigger" if len(triggers) == 1 else "The last of the triggers"
        sentences.append(f"{noun} {verb} {took} after the breach began.")
    elif triggers:
        sentences.append("The incident was closed while a trigger was still firing.")
    return " ".join(sentences)


def _what_began(
    closing: IncidentEvent,
    triggers: Sequence[TriggerPart],
    requests: Sequence[RequestPart],
    metrics: Sequence[MetricPart],
) -> str:
    if not triggers and any(one.kind == "rollback" for one in requests):
        return f"A rollback of {closing.component} was asked for by hand."
    if not triggers:
        return f"What asked for a rollback of {closing.component} is not among the records."
    first = triggers[0]
    value = "no data" if first.value is None else quantity(first.value, first.metric)
    text = (
        f"{first.metric} of {first.component} breached {first.condition} ({value} when {first.trigger} fired"
    )
    part = next(
        (one for one in metrics if (one.component, one.metric) == (first.component, first.metric)), None
    )
    if part is not None and part.worst is not None:
        text += f", {quantity(part.worst, first.metric)} at its worst"
    others = len(triggers) - 1
    return f"{text})." if not others else f"{text}), and {plural(others, 'more trigger')} fired."


def _what_was_done(one: ExecutionPart) -> str:
    name = f"The rollback of {one.component}"
    if one.status == "planned":
        return f"{name} was planned in {plural(len(one.steps), 'step')} and not carried out (shadow mode)."
    done = sum(step.status in ("done", "already_satisfied") for step in one.steps)
    took = "" if one.duration_s is None else f" after {duration(one.duration_s)}"
    end = f"ended in {one.status}{took}" if one.status else "had not ended"
    checks = ""
    if one.checks:
        passed = sum(check.passed for check in one.checks)
        checks = f", {passed} of {plural(len(one.checks), 'check')} passed"
    return f"{name} {end}: {done} of {plural(len(one.steps), 'step')} done{checks}."
