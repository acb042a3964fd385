"""What the second stage has to tell, as events of the triggers topic."""

from __future__ import annotations

from datetime import datetime

from schemas.commands import FULL_SYSTEM
from schemas.envelope import Event, make_event
from schemas.triggers import TriggerAction, TriggerEvent, TriggerMember
from services.monitor.adapters.trigger_events import SOURCE
from services.monitor.domain.compound.definitions import Reported
from services.monitor.domain.compound.outcomes import CompoundOutcome
from services.monitor.domain.engine.outcomes import rfc3339, utc


def compound_event(outcome: CompoundOutcome, now: datetime) -> Event[TriggerEvent]:
    """The announcement of ``outcome``; its id is ``<trigger_id>/<kind>/<T>``. Of a reported one the
    first report is the cause."""
    rule, episode = outcome.rule, outcome.episode
    data = TriggerEvent(
        kind=outcome.kind,
        trigger_id=outcome.trigger_id,
        trigger=rule.name,
        component=FULL_SYSTEM,
        group={"component": FULL_SYSTEM},
        metric=rule.metric,
        severity=rule.severity,
        at=utc(outcome.at),
        began=utc(episode.began),
        value=float(outcome.value),
        threshold=float(rule.threshold),
        condition=rule.condition.words(),
        reason=outcome.reason,
        why=outcome.why,
        action=TriggerAction(kind=rule.action.kind, target=rule.action.target),
        immediate=rule.immediate,
        rule_hash=rule.hash,
        members=tuple(
            TriggerMember(id=part.id, name=part.name, component=part.component, at=utc(part.at))
            for part in outcome.parts
        ),
    )
    return make_event(
        data,
        event_id=f"{outcome.trigger_id}/{outcome.kind}/{rfc3339(outcome.at)}",
        source=SOURCE,
        time=now,
        subject=FULL_SYSTEM,
        correlationid=outcome.trigger_id,
        causationid=episode.parts[0].id if isinstance(rule.condition, Reported) else None,
    )
