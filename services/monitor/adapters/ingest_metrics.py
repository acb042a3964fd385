"""What ingest counts about itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.monitor.handlers.origin import Translation


class IngestMetrics:
    """By source (``otlp``, ``prometheus``): records, samples, points passed over, and dead letters."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._records = Counter(
            "backout_monitor_ingest_records", "Foreign records translated", ["source"], registry=registry
        )
        self._samples = Counter(
            "backout_monitor_ingest_samples", "Samples made of them", ["source"], registry=registry
        )
        self._passed_over = Counter(
            "backout_monitor_ingest_passed_over",
            "Points that say nothing that a sample could say",
            ["source", "reason"],
            registry=registry,
        )
        self._dead = Counter(
            "backout_monitor_ingest_dead_letters",
            "Foreign records or points set aside",
            ["source", "reason"],
            registry=registry,
        )

        self._failures = Counter(
            "backout_monitor_ingest_failures",
            "Errors after which a source was begun anew",
            ["source"],
            registry=registry,
        )
        self._up = Gauge(
            "backout_monitor_ingest_up", "Whether a source is translated now", ["source"], registry=registry
        )

    def works(self, source: str, up: bool) -> None:
        """A source begins to work, or has failed."""
        self._up.labels(source).set(up)
        if not up:
            self._failures.labels(source).inc()

    def translated(self, source: str, translation: Translation) -> None:
        self._records.labels(source).inc(len(translation.outcomes))
        self._samples.labels(source).inc(translation.samples)
        for reason, count in translation.passed_over.items():
            self._passed_over.labels(source, reason).inc(count)
        for refused, _ in translation.outcomes:
            for entry in refused:
                self._dead.labels(source, entry.unread.reason).inc()
