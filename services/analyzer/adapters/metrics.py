"""The analyzer's own figures for ``/metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class AnalyzerMetrics:
    """What an operator wants to know of the analyzer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "backout_analyzer_events", "Records of the control topics handled.", ["topic"], registry=registry
        )
        self.dead_letters = Counter(
            "backout_analyzer_dead_letters", "Records that could not be read.", registry=registry
        )
        self.recovered = Counter(
            "backout_analyzer_records_recovered",
            "Records that the stream had passed over, read from the log and handled.",
            ["topic"],
            registry=registry,
        )
        self.open_incidents = Gauge("backout_analyzer_open_incidents", "Incidents open.", registry=registry)
        self.reports = Counter("backout_analyzer_reports", "Reports made.", registry=registry)
