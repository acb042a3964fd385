"""One incident as its events: a bad release of pdf_extraction is noticed and rolled back.

Written out as the other services write them, so that what the analyzer reads here is an example
of the contract. Times are seconds after ``START``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from schemas.commands import CloseIncidentCommand, RollbackCommand
from schemas.envelope import KindedData, make_event
from schemas.incidents import IncidentEvent, OffsetRange
from schemas.notifications import DeliveryEvent
from schemas.registry import AnyEvent
from schemas.rollbacks import Check, RollbackEvent, Step
from schemas.triggers import Evidence, TriggerAction, TriggerEvent
from services.analyzer.domain.evidence import EvidenceRecord

START = datetime(2026, 1, 1, 14, 0, tzinfo=UTC)
COMPONENT = "pdf_extraction"
RECEIVERS = ("engineering_team", "status_page_update")
STEPS = ("disable-enhanced-extractors", "restore-original-extractor", "validate", "update-routing")


@dataclass
class Scenario:
    """Makes events of one incident; ``start`` is when its breach begins."""

    start: datetime = START
    component: str = COMPONENT
    trigger: str = "response_time_p95"
    execution_id: str = "exec-1"
    topic_of_metrics: str = "backout.metrics.v1"
    sequence: int = field(default=0)

    @property
    def id(self) -> str:
        return self.trigger_id

    @property
    def trigger_id(self) -> str:
        return f"{self.trigger}:{self.component}:{self.start:%Y%m%dT%H%M%SZ}"

    def at(self, seconds: float) -> datetime:
        return self.start + timedelta(seconds=seconds)

    def _event(
        self, data: KindedData, event_id: str, at: datetime, correlation: str, cause: str | None = None
    ) -> AnyEvent:
        return make_event(
            data,
            event_id=event_id,
            source="backout/test",
            time=at,
            subject=self.component,
            correlationid=correlation,
            causationid=cause,
        )

    def triggered(
        self, kind: Any, seconds: float, value: float = 4_120.0, action: Any = "rollback"
    ) -> AnyEvent:
        at = self.at(seconds)
        data = TriggerEvent(
            kind=kind,
            trigger_id=self.trigger_id,
            trigger=self.trigger,
            component=self.component,
            group={"component": self.component},
            metric="response_time_p95_ms",
            severity="critical",
            at=at,
            began=self.start,
            value=value,
            threshold=3_000.0,
            condition="> 3000 for 10s",
            reason="breached_for_long_enough" if kind != "resolved" else "clear",
            why=f"response_time_p95_ms was {value:g}, > 3000 for 10s",
            action=TriggerAction(kind=action, target=self.component),
            rule_hash="3f2a9c",
            evidence=Evidence(
                topic=self.topic_of_metrics, partition=1, first_offset=10, last_offset=19, samples=10
            ),
        )
        return self._event(data, f"{self.trigger_id}/{kind}/{at:%Y%m%dT%H%M%SZ}", at, self.trigger_id)

    def journal(
        self,
        kind: Any,
        seconds: float,
        *,
        correlation: str | None = None,
        cause: str | None = None,
        **more: Any,
    ) -> AnyEvent:
        self.sequence += 1
        more.setdefault("requested_by", self.trigger_id)
        more.setdefault("reason", str(kind))
        data = RollbackEvent(
            kind=kind,
            execution_id=more.pop("execution_id", self.execution_id),
            sequence=self.sequence,
            component=self.component,
            at=self.at(seconds),
            playbook="pdf_extraction",
            plan_hash="9d1c",
            playbook_mode="auto",
            mode="planned",
            epoch=1,
            **more,
        )
        event_id = f"{data.execution_id}/{self.sequence}"
        return self._event(data, event_id, data.at, correlation or self.trigger_id, cause)

    def told(
        self, receiver: str, about: str, seconds: float, cause: str | None = None, **more: Any
    ) -> AnyEvent:
        delivery_id = f"{self.id}/{receiver}/{about}"
        data = DeliveryEvent(
            kind=more.get("kind", "delivered"),
            delivery_id=delivery_id,
            incident_id=self.id,
            execution_id=self.execution_id,
            component=self.component,
            receiver=receiver,
            tier="immediate" if receiver == "engineering_team" else "customer",
            channel="slack" if receiver == "engineering_team" else "status_page",
            about=about,
            template=about,
            attempts=1,
            at=self.at(seconds),
            due=self.at(seconds + 60),
        )
        return self._event(data, f"{delivery_id}/{data.kind}", data.at, self.id, cause)

    def commanded(self, seconds: float, event_id: str = "command-1") -> AnyEvent:
        data = RollbackCommand(
            component=self.component,
            issued_by="on-call",
            issued_at=self.at(seconds),
            expires_at=self.at(seconds + 600),
            reason="latency is up",
        )
        return self._event(data, event_id, data.issued_at, event_id)

    def close_command(self, seconds: float, incident_id: str | None = None) -> AnyEvent:
        target = incident_id or self.id
        data = CloseIncidentCommand(
            incident_id=target,
            issued_by="on-call",
            issued_at=self.at(seconds),
            expires_at=self.at(seconds + 600),
            reason="looked into",
        )
        return self._event(data, f"close:{target}", data.issued_at, target)

    def rolled_back(self, status: Any = "Success") -> dict[str, list[AnyEvent]]:
        """The events of the whole incident, by topic, in each topic's order."""
        triggers = [self.triggered("fired", 10), self.triggered("firing", 70, 4_300.0)]
        triggers.append(self.triggered("resolved", 84, 310.0))
        rollbacks = [self.journal("started", 10.4, progress=0)]
        begin = 10.6
        for index, name in enumerate(STEPS, start=1):
            step = {"id": name, "index": index, "of": len(STEPS), "action": "http.call"}
            rollbacks.append(self.journal("step_started", begin, step=Step(status="running", **step)))
            if name == "validate":
                rollbacks.append(self.journal("validated", begin + 1, checks=_checks()))
            done = Step(status="done", duration_s=1.2, **step)
            rollbacks.append(self.journal("step_completed", begin + 1.2, step=done, progress=index * 25))
            begin += 1.4
        end = self.journal("completed", begin, status=status, progress=100)
        rollbacks.append(end)
        notifications = [
            self.told(receiver, "rollback_initiated", 11 + n, rollbacks[0].id)
            for n, receiver in enumerate(RECEIVERS)
        ]
        about = "rollback_completed" if status == "Success" else "rollback_failed"
        notifications += [
            self.told(receiver, about, begin + 1 + n, end.id) for n, receiver in enumerate(RECEIVERS)
        ]
        return {"triggers": triggers, "rollbacks": rollbacks, "notifications": notifications}

    def samples(self, begin: int = -120, end: int = 120) -> list[tuple[bytes, datetime]]:
        """Metric records, one a second: calm, a breach from 0 to 80, calm again."""
        found = []
        for second in range(begin, end):
            breached = 0 <= second < 80
            value = (4_100 if breached else 280) + 60 * math.sin(second / 3)
            batch = {
                "component": self.component,
                "time": self.at(second).timestamp(),
                "samples": [
                    {"metric": "response_time_p95_ms", "value": round(value, 3)},
                    {"metric": "accuracy_score", "value": 0.99 if not breached else 0.97},
                    {"metric": "requests_total", "value": float(1_000 + 4 * (second - begin))},
                ],
            }
            found.append((msgspec.json.encode(batch), self.at(second)))
        return found

    def log_line(self, seconds: float, body: str, severity: str = "WARN", **attributes: Any) -> bytes:
        return msgspec.json.encode(
            {
                "time": self.at(seconds).isoformat(),
                "component": self.component,
                "severity": severity,
                "body": body,
                "attributes": attributes,
            }
        )


def _checks() -> tuple[Check, ...]:
    return (
        Check(name="accuracy", passed=True, value=0.991, limit=0.95),
        Check(name="seconds_per_page", passed=True, value=0.04, limit=1.0, unit="s"),
    )


def records_of(scenario: Scenario, events: Mapping[str, Sequence[AnyEvent]]) -> list[EvidenceRecord]:
    """The log of an incident: its events, its samples, and two lines that were logged."""
    found = []
    for topic, listed in events.items():
        for offset, event in enumerate(listed):
            at = int(event.time.timestamp() * 1000)
            found.append(_record(topic, 0, offset, at, event.to_bytes(), scenario.component))
    for offset, (value, time) in enumerate(scenario.samples()):
        at = int(time.timestamp() * 1000)
        found.append(_record("metrics", 1, offset, at, value, scenario.component))
    lines = [
        scenario.log_line(-3, "mode is now enhanced", "INFO", mode="enhanced"),
        scenario.log_line(2, "slow"),
    ]
    for offset, line in enumerate(lines):
        at = int(scenario.at(0).timestamp() * 1000)
        found.append(_record("logs", 0, offset, at, line, scenario.component))
    return found


def _record(kind: str, partition: int, offset: int, at_ms: int, value: bytes, key: str) -> EvidenceRecord:
    return EvidenceRecord(kind, f"backout.{kind}.v1", partition, offset, at_ms, key.encode(), value)


def closing_of(
    scenario: Scenario, records: Sequence[EvidenceRecord], seconds: float = 96, status: Any = "Success"
) -> IncidentEvent:
    """The closing event that freezes all of these records."""
    places: dict[tuple[str, int], list[int]] = {}
    for record in records:
        places.setdefault((record.topic, record.partition), []).append(record.offset)
    return IncidentEvent(
        kind="closed",
        incident_id=scenario.id,
        component=scenario.component,
        components=(scenario.component,),
        at=scenario.at(seconds),
        opened_at=scenario.at(10),
        reason="settled",
        why="Rollbacks ended, triggers resolved, people told",
        status=status,
        executions=(scenario.execution_id,),
        triggers=(scenario.trigger_id,),
        ranges=tuple(
            OffsetRange(topic=topic, partition=partition, first=min(offsets), last=max(offsets))
            for (topic, partition), offsets in sorted(places.items())
        ),
    )
