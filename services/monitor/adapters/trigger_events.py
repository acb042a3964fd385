"""What the engine has to tell, as events of the triggers topic."""

from __future__ import annotations

from datetime import datetime

from schemas.envelope import Event, make_event
from schemas.triggers import Evidence, GroupOverflow, TriggerAction, TriggerEvent
from services.monitor.domain.engine.admission import Overflow
from services.monitor.domain.engine.outcomes import Outcome, rfc3339, utc
from services.monitor.domain.language.phases import Kind
from services.monitor.domain.language.rules import trigger_id
from services.monitor.domain.language.targets import Targets

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
        rule, correlation = outcome.rule, outcome.trigger_id
        data = TriggerEvent(
            kind=kind,
            trigger_id=correlation,
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
            evidence=self._evidence(outcome),
        )
        return make_event(
            data,
            event_id=f"{correlation}/{kind}/{rfc3339(outcome.at)}",
            source=SOURCE,
            time=now,
            subject=outcome.component,
            correlationid=correlation,
            traceparent=traceparent,
        )

    def _evidence(self, outcome: Outcome) -> Evidence | None:
        found = outcome.evidence
        if found is None:
            return None
        return Evidence(
            topic=self._metrics_topic,
            partition=found.partition,
            first_offset=found.first_offset,
            last_offset=found.last_offset,
            samples=found.samples,
        )

    def overflow(self, overflow: Overflow, partition: int, now: datetime) -> Event[GroupOverflow]:
        """That a trigger has no room for a group; the id is the same whenever the log is read."""
        rule, of = overflow.rule, overflow.of
        place = f"{rule.name} has {rule.max_groups} groups on partition {partition}, its max_groups"
        data = GroupOverflow(
            kind="overflow",
            trigger=rule.name,
            component=of.component,
            group=of.as_mapping(),
            metric=rule.metric,
            partition=partition,
            limit=rule.max_groups,
            at=utc(overflow.at),
            why=f"{place}: {of} and every further group are not evaluated",
            rule_hash=rule.hash,
        )
        correlation = trigger_id(rule.name, of, overflow.at)
        return make_event(
            data,
            event_id=f"{correlation}/overflow/{rfc3339(overflow.at)}",
            source=SOURCE,
            time=now,
            subject=of.component,
            correlationid=correlation,
        )
