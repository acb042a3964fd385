"""What the monitor counts about itself."""

from __future__ import annotations

import contextlib
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.monitor.adapters.prediction_metrics import PredictionMetrics
from services.monitor.domain.breakers.breaker import BreakerState
from services.monitor.domain.breakers.breakers import Decision
from services.monitor.domain.language.phases import Phase
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.prediction.track_record import TrackRecord
from services.monitor.handlers.ports import Decided

_TICK_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_TRANSACTION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PHASES: tuple[Phase, ...] = get_args(Phase)
_BREAKER_STATES: tuple[BreakerState, ...] = get_args(BreakerState)


class GroupCounts(Collector):
    """The groups of each trigger, put into words when somebody asks: there may be thousands of
    triggers on each partition, and a gauge of the library for each takes long to make."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.shown: dict[int, Mapping[str, int]] = {}
        """By partition, and by the trigger's name."""
        registry.register(self)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "backout_monitor_groups", "Groups by trigger", labels=["partition", "trigger"]
        )

    def collect(self) -> Iterator[Metric]:
        (family,) = self.describe()
        for partition, counts in list(self.shown.items()):
            for trigger, count in counts.items():
                family.add_metric([str(partition), trigger], count)
        yield family


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
        self._overflowed = Gauge(
            "backout_monitor_trigger_overflowed",
            "1 where a trigger has no room for a group, which is not evaluated",
            ["partition", "trigger"],
            registry=registry,
        )
        self._drawn = Gauge(
            "backout_monitor_baseline_drawn",
            "1 where a baseline is worked out from a draw: there are more samples than are kept",
            ["partition", "trigger"],
            registry=registry,
        )
        self._drawn_shown: dict[int, frozenset[str]] = {}
        self._predictions = PredictionMetrics(registry)
        self._phases = Gauge(
            "backout_monitor_triggers",
            "Triggers by phase",
            ["partition", "phase"],
            registry=registry,
        )

        self._groups = GroupCounts(registry)
        self._lag = Gauge(
            "backout_monitor_lag_records",
            "Offsets between what is read and the end of the partition",
            ["partition"],
            registry=registry,
        )
        self._evaluations = Counter(
            "backout_monitor_evaluations",
            "Evaluations: each of a trigger on a group at a second of event time",
            ["partition"],
            registry=registry,
        )
        self._ticks = Histogram(
            "backout_monitor_tick_seconds",
            "From fetched records to what they decide: decoding, folding in, evaluating",
            ["partition"],
            buckets=_TICK_BUCKETS_S,
            registry=registry,
        )
        self._transactions = Histogram(
            "backout_monitor_transaction_seconds",
            "From the decision to the commit of its transaction",
            ["partition"],
            buckets=_TRANSACTION_BUCKETS_S,
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

    def predicted(self, partition: int, model: str, track: TrackRecord, *, is_open: int, series: int) -> None:
        self._predictions.counted(partition, model, track, is_open=is_open, series=series)

    def taken(self, partition: int, *, samples: int, late: int) -> None:
        self._samples.labels(partition).inc(samples)
        self._late.labels(partition).inc(late)

    def ticked(self, partition: int, *, seconds: float, evaluations: int) -> None:
        self._ticks.labels(partition).observe(seconds)
        self._evaluations.labels(partition).inc(evaluations)

    def transacted(self, partition: int, *, seconds: float) -> None:
        self._transactions.labels(partition).observe(seconds)

    def behind(self, partition: int, records: int) -> None:
        self._lag.labels(partition).set(records)

    def written(self, partition: int, decided: Decided) -> None:
        self._written.labels(partition).inc()
        for entry in decided.set_aside:
            self._dead.labels(entry.unread.reason).inc()
        for outcome in decided.outcomes:
            if outcome.kind is not None:
                self._told.labels(outcome.rule.name, outcome.kind).inc()
        for told in decided.predictions:
            self._predictions.told(told)
        for decision in decided.breakers:
            if isinstance(decision, Decision):
                self._breaker_decisions.labels(decision.breaker.state, decision.reason).inc()

    def evaluated(self, partition: int, through: int | None) -> None:
        if through is not None:
            self._through.labels(partition).set(through)

    def phases(self, partition: int, phases: Mapping[Phase, int], *, groups: Mapping[str, int]) -> None:
        for phase in _PHASES:
            self._phases.labels(partition, phase).set(phases.get(phase, 0))
        self._groups.shown[partition] = groups

    def overflowed(self, partition: int, triggers: Sequence[Rule]) -> None:
        for rule in triggers:
            self._overflowed.labels(partition, rule.name).set(1)

    def drawn(self, partition: int, triggers: Sequence[Rule]) -> None:
        names = frozenset(rule.name for rule in triggers)
        shown = self._drawn_shown.get(partition, frozenset())
        self._drawn_shown[partition] = names
        for name in names - shown:
            self._drawn.labels(partition, name).set(1)
        for name in shown - names:
            self._drawn.remove(partition, name)

    def breakers(self, partition: int, states: Mapping[str, BreakerState]) -> None:
        tally = Tally(states.values())
        for state in _BREAKER_STATES:
            self._breakers.labels(partition, state).set(tally[state])

    def released(self, partition: int) -> None:
        """Another process tells of the partition now: what it says must not be added to our last."""
        self.breakers(partition, {})
        self._overflowed.remove_by_labels({"partition": str(partition)})
        self.drawn(partition, ())
        self._predictions.released(partition)
        for gauge in (self._lag, self._through):
            with contextlib.suppress(KeyError):
                gauge.remove(partition)
        self._groups.shown.pop(partition, None)
        for phase in _PHASES:
            self._phases.labels(partition, phase).set(0)
