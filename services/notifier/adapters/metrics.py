"""What the notifier counts about itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.notifier.domain.entry import Entry, Settlement


class NotifierMetrics:
    """By channel: deliveries settled, tries, how long a delivery took, what is open."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._deliveries = Counter(
            "backout_notifier_deliveries",
            "Deliveries settled",
            ["channel", "outcome"],
            registry=registry,
        )
        self._tries = Counter(
            "backout_notifier_tries",
            "Requests and questions, by result",
            ["channel", "result"],
            registry=registry,
        )
        self._seconds = Histogram(
            "backout_notifier_delivery_seconds",
            "From the event to the settled delivery",
            ["channel", "tier"],
            buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 900, 1800),
            registry=registry,
        )
        self._not_evaluated = Gauge(
            "backout_notifier_partitions_not_evaluated",
            "Partitions of the metrics topic in an announced outage of the monitor",
            registry=registry,
        )
        self._open = Gauge("backout_notifier_open_deliveries", "Unsettled", ["channel"], registry=registry)

    def settled(self, entry: Entry, settlement: Settlement, *, seconds: float) -> None:
        """Count a delivery; ``seconds`` since its event."""
        channel = entry.delivery.channel
        self._deliveries.labels(channel, settlement.outcome).inc()
        if settlement.outcome == "delivered":
            self._seconds.labels(channel, entry.delivery.tier).observe(max(seconds, 0.0))

    def recorded_only(self, channel: str, outcome: str) -> None:
        """Count a delivery that was settled when it was recorded."""
        self._deliveries.labels(channel, outcome).inc()

    def tried(self, entry: Entry, result: str) -> None:
        self._tries.labels(entry.delivery.channel, result).inc()

    def not_evaluated(self, count: int) -> None:
        self._not_evaluated.set(count)

    def open(self, channel: str, count: int) -> None:
        self._open.labels(channel).set(count)
