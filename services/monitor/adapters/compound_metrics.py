"""What the second stage counts about itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.monitor.handlers.compound import CompoundDecided


class CompoundMetrics:
    """Announcements of compound triggers, members that came late, and dead letters by topic."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._told = Counter(
            "backout_monitor_compound_announcements",
            "Events of compound triggers",
            ["trigger", "kind"],
            registry=registry,
        )
        self._late = Counter(
            "backout_monitor_compound_late",
            "Beginnings and ends of members that came after their second was decided",
            registry=registry,
        )
        self._dead = Counter(
            "backout_monitor_compound_dead_letters",
            "Records of the second stage's topics set aside",
            ["topic", "reason"],
            registry=registry,
        )

        self._up = Gauge(
            "backout_monitor_compound_up",
            "Whether compound triggers over a topic are decided now",
            ["topic"],
            registry=registry,
        )

    def works(self, source: str, up: bool) -> None:
        """The stage over a topic begins to work, or has failed."""
        self._up.labels(source).set(up)

    def decided(self, source: str, decided: CompoundDecided, late: int) -> None:
        for outcome in decided.outcomes:
            self._told.labels(outcome.rule.name, outcome.kind).inc()
        self._late.inc(late)
        for entry in decided.set_aside:
            self._dead.labels(source, entry.unread.reason).inc()
