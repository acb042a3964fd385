"""The decisions of breakers, and signs of life, as records of the breakers topic."""

from __future__ import annotations

from datetime import datetime

from schemas.breakers import BreakerAlive, BreakerDecision, FailedCheck
from schemas.envelope import Event, make_event
from services.monitor.adapters.trigger_events import SOURCE
from services.monitor.domain.breakers.breakers import Decision
from services.monitor.domain.engine.outcomes import rfc3339, utc


def decision_event(decision: Decision, partition: int, now: datetime) -> Event[BreakerDecision]:
    """The event of a decision; its id is ``breaker:<component>/<state>/<T>``, with ``/settings_changed``
    after it where that is the reason: at the same second the state may have been decided, too."""
    breaker = decision.breaker
    again = "/settings_changed" if decision.reason == "settings_changed" else ""
    data = BreakerDecision(
        kind=breaker.state,
        component=decision.component,
        at=utc(decision.at),
        since=utc(breaker.since),
        until=None if breaker.until is None else utc(breaker.until),
        before=decision.before,
        reason=decision.reason,
        why=decision.why,
        fallback=breaker.fallback,
        failed=tuple(
            FailedCheck(
                check=failure.check,
                metric=failure.metric,
                value=failure.value,
                threshold=failure.threshold,
                condition=failure.condition,
                since=utc(failure.since),
            )
            for failure in breaker.failures
        ),
        probe_share=decision.probe_share,
        reopened=breaker.doublings,
        partition=partition,
    )
    return make_event(
        data,
        event_id=f"breaker:{decision.component}/{breaker.state}/{rfc3339(decision.at)}{again}",
        source=SOURCE,
        time=now,
        subject=decision.component,
        correlationid=decision.episode,
    )


def alive_event(partition: int, through: int, now: datetime) -> tuple[bytes, Event[BreakerAlive]]:
    """Key and event of a sign of life."""
    name = f"partition-{partition}"
    event = make_event(
        BreakerAlive(kind="alive", partition=partition, through=utc(through)),
        event_id=f"breakers:{name}/alive/{rfc3339(through)}",
        source=SOURCE,
        time=now,
        subject=name,
        correlationid=f"breakers:{name}",
    )
    return f"alive/{partition}".encode(), event
