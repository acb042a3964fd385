"""What the engine has to tell, as events of the triggers topic."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from schemas.envelope import Event, make_event
from schemas.triggers import Evidence, TriggerAction, TriggerEvent
from services.monitor.domain.outcomes import Outcome, rfc3339, utc
from services.monitor.domain.phases import Kind
from services.monitor.domain.targets import Targets

SOURCE = "/backout/monitor"


class TriggerEvents:
    """Makes events that name ``metrics_topic`` as the place of the evidence."""

    def __init__(self, targets: Targets, metrics_topic: str) -> None:
        self._targets = targets
        self._metrics_topic = metrics_topic

    def event(
        self, outcome: Outcome, kind: Kind, now: datetime, *, traceparent: str | None = None
    ) -> Event[TriggerEvent]:
        """The announcement of ``outcome``; its id is ``<trigger_id>/<kind>/<T>``. ``traceparent`` is the
        trace that it belongs to (W3C Trace Context)."""
        rule, trigger_id = outcome.rule, outcome.trigger_id
        evidence = None
        if outcome.evidence is not None:
            fields = dataclasses.asdict(outcome.evidence)
            evidence = Evidence(topic=self._metrics_topic, **fields)
        data = TriggerEvent(
            kind=kind,
            trigger_id=trigger_id,
            trigger=rule.name,
            component=outcome.component,
            group=outcome.group,
            metric=rule.metric,
            severity=rule.severity,
            at=utc(outcome.at),
            began=utc(outcome.began),
            value=outcome.value,
            threshold=rule.when.threshold,
            condition=rule.condition,
            reason=outcome.reason,
            why=outcome.why,
            action=TriggerAction(
                kind=rule.action.kind, target=self._targets.target_of(rule, outcome.component)
            ),
            immediate=rule.immediate,
            rule_hash=rule.hash,
            evidence=evidence,
        )
        return make_event(
            data,
            event_id=f"{trigger_id}/{kind}/{rfc3339(outcome.at)}",
            source=SOURCE,
            time=now,
            subject=outcome.component,
            correlationid=trigger_id,
            traceparent=traceparent,
        )
