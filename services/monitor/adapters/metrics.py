"""What the monitor counts about itself."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.monitor.domain.breaker import BreakerState
from services.monitor.domain.breakers import Decision
from services.monitor.domain.groups import Group
from services.monitor.domain.phases import Phase
from services.monitor.domain.rules import Rule
from services.monitor.handlers.ports import Decided

_BREAKER_STATES: tuple[BreakerState, ...] = get_args(BreakerState)


class MonitorMetrics:
    """By partition: samples, late ones, dead letters, transitions, and how far time has come."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._samples = Counter(
            "backout_monitor_samples", "Samples folded in", ["partition"], registry=registry
        )
        self._late = Counter(
            "backout_monitor_late_samples",
            "Samples that came after the evaluation of their second",
            ["partition"],
            registry=registry,
        )
        self._dead = Counter(
            "backout_monitor_dead_letters", "Records set aside", ["reason"], registry=registry
        )
        self._told = Counter(
            "backout_monitor_announcements", "Trigger events", ["trigger", "kind"], registry=registry
        )
        self._written = Counter(
            "backout_monitor_transactions", "Transactions committed", ["partition"], registry=registry
        )
        self._through = Gauge(
            "backout_monitor_evaluated_through_seconds",
            "The last second evaluated, as Unix time",
            ["partition"],
            registry=registry,
        )
        self._breaker_decisions = Counter(
            "backout_monitor_breaker_decisions",
            "Decisions of circuit breakers",
            ["state", "reason"],
            registry=registry,
        )
        self._breakers = Gauge(
            "backout_monitor_breakers", "Breakers by state", ["partition", "state"], registry=registry
        )
        self._phases = Gauge(
            "backout_monitor_triggers",
            "Triggers by phase",
            ["partition", "phase"],
            registry=registry,
        )

        self._failures = Counter(
            "backout_monitor_watch_failures",
            "Errors after which the evaluation was begun anew",
            registry=registry,
        )
        self._up = Gauge("backout_monitor_up", "Whether triggers are evaluated now", registry=registry)

    def works(self, up: bool) -> None:
        """The evaluation begins to work, or has failed."""
        self._up.set(up)
        if not up:
            self._failures.inc()

    def taken(self, partition: int, *, samples: int, late: int) -> None:
        self._samples.labels(partition).inc(samples)
        self._late.labels(partition).inc(late)

    def written(self, partition: int, decided: Decided) -> None:
        self._written.labels(partition).inc()
        for entry in decided.set_aside:
            self._dead.labels(entry.unread.reason).inc()
        for outcome in decided.outcomes:
            if outcome.kind is not None:
                self._told.labels(outcome.rule.name, outcome.kind).inc()
        for decision in decided.breakers:
            if isinstance(decision, Decision):
                self._breaker_decisions.labels(decision.breaker.state, decision.reason).inc()

    def evaluated(self, partition: int, through: int | None) -> None:
        if through is not None:
            self._through.labels(partition).set(through)

    def phases(self, partition: int, phases: Sequence[tuple[Rule, Group, Phase]]) -> None:
        tally = Tally(phase for _, _, phase in phases)
        for phase in ("inactive", "pending", "firing"):
            self._phases.labels(partition, phase).set(tally[phase])

    def breakers(self, partition: int, states: Mapping[str, BreakerState]) -> None:
        tally = Tally(states.values())
        for state in _BREAKER_STATES:
            self._breakers.labels(partition, state).set(tally[state])

    def released(self, partition: int) -> None:
        self.breakers(partition, {})
        for phase in ("inactive", "pending", "firing"):
            self._phases.labels(partition, phase).set(0)
