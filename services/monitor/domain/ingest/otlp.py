"""OpenTelemetry's metrics as samples.

    ExportMetricsServiceRequest ─▶ resource (component) ─▶ metric ─▶ point ─▶ samples

- gauge: its value
- sum: delta, what came in; cumulative, the counter as it stands (a fall is a reset)
- histogram, exponential histogram: ``_p50 _p90 _p95 _p99`` of what came in since the point
  before, and ``_count`` and ``_sum`` as a sum has them
- summary: the quantiles that it carries, ``_count`` and ``_sum``
- what is merged of several series: what came in since the point before of each, whatever they are

Data model: https://opentelemetry.io/docs/specs/otel/metrics/data-model/
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    SummaryDataPoint,
)

from schemas.metrics import Unread
from services.monitor.domain.ingest.attributes import labels as labels_of
from services.monitor.domain.ingest.cumulative import Counter, FormerPoints
from services.monitor.domain.ingest.distributions import (
    NO_BUCKETS,
    Counts,
    Distribution,
    Distributions,
    HistogramPoint,
    explicit_buckets,
    exponential_buckets,
    together,
)
from services.monitor.domain.ingest.histograms import Buckets, MalformedHistogram
from services.monitor.domain.ingest.names import Names, Renaming
from services.monitor.domain.ingest.otlp_encodings import NotOtlp
from services.monitor.domain.ingest.translation import NOT_LISTED, Components, Gathering, Translated

NANOSECONDS = 1e9
# Looked up once: each look-up by name costs as much as reading a point.
_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_NO_RECORDED_VALUE = int(DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK)
_STATISTICS = {0.5: "p50", 0.9: "p90", 0.95: "p95", 0.99: "p99"}
NumberKey = tuple[str, int]
Point = TypeVar("Point", bound=HistogramPoint)

Decode = Callable[[bytes | None], ExportMetricsServiceRequest]


@dataclass(frozen=True, slots=True)
class OtlpTerms:
    """``component_attribute`` names the component: of the point, else of its scope, else of its
    resource. ``resource_labels`` are the resource's attributes that become labels."""

    component_attribute: str = "service.name"
    default_component: str | None = None
    resource_labels: tuple[str, ...] = ("service.instance.id", "service.version")


class OtlpTranslator:
    """Reads one partition's requests; remembers the last point of each cumulative histogram, and of
    each counter that is merged."""

    look_back = 500

    def __init__(self, decode: Decode, terms: OtlpTerms, names: Names) -> None:
        self._decode = decode
        self._terms = terms
        # The component's name is no label: the nearest attribute of that name is told apart below.
        self._resource_labels = [name for name in terms.resource_labels if name != terms.component_attribute]
        self._names = names
        self._former_distributions: FormerPoints[Counts] = FormerPoints()
        self._distributions = Distributions(self._former_distributions)
        self._counters: FormerPoints[Counter] = FormerPoints()
        source = f"attribute {terms.component_attribute!r}"
        self._components = Components(names, terms.default_component, source)

    def resumes_at(self, time: float) -> None:
        """A series that began before then may have been counted already."""
        nanoseconds = round(time * NANOSECONDS)
        self._former_distributions.resume(nanoseconds)
        self._counters.resume(nanoseconds)

    def translate(self, value: bytes | None) -> Translated:
        """``reason`` of a record that cannot be read: see NotOtlp; of a point: ``no_component``,
        ``invalid_component``, ``invalid_time``, ``invalid_name``, ``invalid_histogram`` or
        ``invalid_temporality``."""
        try:
            request = self._decode(value)
        except NotOtlp as error:
            return Translated(unread=(Unread(error.reason, str(error)),))
        gathering = Gathering()
        for resource_metrics in request.resource_metrics:
            for scope_metrics in resource_metrics.scope_metrics:
                scope = self._scope(resource_metrics, scope_metrics)
                for metric in scope_metrics.metrics:
                    self._metric(metric, scope, gathering)
        return gathering.translated()

    def _scope(self, resource_metrics: ResourceMetrics, scope_metrics: ScopeMetrics) -> _Scope:
        resource = labels_of(resource_metrics.resource.attributes)
        scope = labels_of(scope_metrics.scope.attributes)
        wanted = self._terms.component_attribute
        return _Scope(
            component=scope.get(wanted) or resource.get(wanted),
            labels={name: resource[name] for name in self._resource_labels if name in resource},
            identity=(
                tuple(sorted(resource.items())),
                scope_metrics.scope.name,
                scope_metrics.scope.version,
                scope_metrics.schema_url,
                tuple(sorted(scope.items())),
            ),
        )

    def _metric(self, metric: Metric, scope: _Scope, gathering: Gathering) -> None:
        kind = metric.WhichOneof("data")
        points = getattr(metric, kind).data_points if kind else ()
        renaming = self._names.renaming(metric.name)
        if renaming is None or not kind:
            gathering.item += len(points)
            gathering.pass_over(NOT_LISTED if kind else "unknown_kind", len(points) or 1)
            return
        data = getattr(metric, kind)
        temporality = getattr(data, "aggregation_temporality", None)
        if temporality not in (None, _DELTA, _CUMULATIVE):
            gathering.item += len(points)
            error = f"{metric.name}: aggregation temporality {temporality} is neither delta nor cumulative"
            gathering.refuse("invalid_temporality", error)
            return
        reader = _MetricReader(metric, renaming, scope, self._terms, self._components, gathering)
        cumulative = temporality == _CUMULATIVE
        if kind == "sum" and renaming.merge and cumulative and data.is_monotonic:
            reader.counters(points, self._counters)
        elif kind in ("gauge", "sum"):
            reader.numbers(points, merged=renaming.merge and kind == "sum")
        elif kind == "summary":
            reader.summaries(points)
        else:
            read = explicit_buckets if kind == "histogram" else exponential_buckets
            reader.histograms(points, read, self._distributions, cumulative=cumulative)


@dataclass(frozen=True, slots=True)
class _Scope:
    """What all points of a scope share. ``identity`` tells its series from those of others: the
    resource's attributes, and the scope's name, version, schema and attributes, as the data model has it."""

    component: str | None
    labels: dict[str, str]
    identity: tuple[object, ...]


class _MetricReader:
    """Turns the points of one metric into samples."""

    def __init__(
        self,
        metric: Metric,
        renaming: Renaming,
        scope: _Scope,
        terms: OtlpTerms,
        components: Components,
        gathering: Gathering,
    ) -> None:
        self._name = metric.name
        self._kind = (metric.WhichOneof("data"), metric.unit)
        self._renaming = renaming
        self._scope = scope
        self._attribute = terms.component_attribute
        self._components = components
        self._gathering = gathering
        self._refused = False

    def numbers(self, points: Iterable[NumberDataPoint], *, merged: bool) -> None:
        """A gauge's or a sum's points; ``merged`` adds those of a component and a time up."""
        totals: dict[NumberKey, float] = {}
        for point, (component, labels), value in self._values(points):
            if merged:
                self._merge(totals, component, point.time_unix_nano, value)
            else:
                self._number(component, value, point.time_unix_nano, labels)
        self._numbers(totals)

    def counters(self, points: Iterable[NumberDataPoint], former: FormerPoints[Counter]) -> None:
        """A cumulative sum's points: what came in since the point before of each, added up by
        component and time. Counters themselves added up would fall where one is missing."""
        totals: dict[NumberKey, float] = {}
        for point, (component, _), value in self._values(points):
            start, time = point.start_time_unix_nano, point.time_unix_nano
            new = former.since(self._series(point), start, time, Counter(value))
            if isinstance(new, str):
                self._gathering.pass_over(new)
            else:
                self._merge(totals, component, time, new.value)
        self._numbers(totals)

    def _values(
        self, points: Iterable[NumberDataPoint]
    ) -> Iterator[tuple[NumberDataPoint, tuple[str, dict[str, str]], float]]:
        """The points that have a value, with their component and labels."""
        for point in points:
            placed = self._place(point)
            if placed is None:
                continue
            match point.WhichOneof("value"):
                case "as_double":
                    value = point.as_double
                case "as_int":
                    value = float(point.as_int)
                case _:
                    self._gathering.pass_over("no_value")
                    continue
            if self._gathering.is_finite(value):
                yield point, placed, value

    def _merge(self, totals: dict[NumberKey, float], component: str, time: int, value: float) -> None:
        totals[component, time] = totals.get((component, time), 0.0) + value

    def _numbers(self, totals: dict[NumberKey, float]) -> None:
        for (component, time), total in totals.items():
            self._number(component, total, time, dict(self._scope.labels))

    def _number(self, component: str, value: float, time: int, labels: dict[str, str]) -> None:
        metric, factor = self._renaming.name(self._name, None), self._renaming.factor
        self._gathering.add(metric, component, value * factor, time / NANOSECONDS, labels)

    def _series(self, point: NumberDataPoint | HistogramPoint) -> Hashable:
        """What tells a series of points from every other of the partition."""
        return (
            self._scope.identity,
            self._name,
            self._kind,
            tuple(sorted(labels_of(point.attributes).items())),
        )

    def summaries(self, points: Iterable[SummaryDataPoint]) -> None:
        """Quantiles that were computed where they arose; the others than ours are left out."""
        for point in points:
            placed = self._place(point)
            if placed is None:
                continue
            component, labels = placed
            time = point.time_unix_nano / NANOSECONDS
            self._add("count", component, float(point.count), time, labels)
            self._add("sum", component, point.sum * self._renaming.factor, time, labels)
            for entry in point.quantile_values:
                statistic = _STATISTICS.get(entry.quantile)
                if statistic is not None:
                    self._add(statistic, component, entry.value * self._renaming.factor, time, labels)

    def histograms(
        self,
        points: Iterable[Point],
        buckets: Callable[[Point], Buckets],
        distributions: Distributions,
        *,
        cumulative: bool,
    ) -> None:
        """Points of either histogram, whose buckets ``buckets`` reads."""
        merged: dict[NumberKey, list[Distribution]] = {}
        for point in points:
            placed = self._place(point)
            if placed is None:
                continue
            component, labels = placed
            try:
                found = distributions.read(
                    point,
                    buckets(point),
                    self._series(point),
                    cumulative=cumulative,
                    increases=self._renaming.merge,
                )
            except MalformedHistogram as error:
                self._gathering.refuse("invalid_histogram", f"{self._name}: {error}")
                continue
            if found.problem is not None:
                self._gathering.pass_over(found.problem)
            if not self._renaming.merge:
                self._distribution(found, component, point.time_unix_nano / NANOSECONDS, labels)
            elif found.problem is None or found.problem == NO_BUCKETS:
                merged.setdefault((component, point.time_unix_nano), []).append(found)
        for (component, time), parts in merged.items():
            self._distribution(together(parts), component, time / NANOSECONDS, dict(self._scope.labels))

    def _distribution(self, found: Distribution, component: str, time: float, labels: dict[str, str]) -> None:
        factor = self._renaming.factor
        self._add("count", component, float(found.count), time, labels)
        if found.sum is not None:
            self._add("sum", component, found.sum * factor, time, labels)
        quantiles = found.quantiles(tuple(_STATISTICS))
        if quantiles is not None:
            for statistic, value in zip(_STATISTICS.values(), quantiles, strict=True):
                self._add(statistic, component, value * factor, time, labels)

    def _add(self, statistic: str, component: str, value: float, time: float, labels: dict[str, str]) -> None:
        self._gathering.add(self._renaming.name(self._name, statistic), component, value, time, labels)

    def _place(
        self, point: NumberDataPoint | HistogramPoint | SummaryDataPoint
    ) -> tuple[str, dict[str, str]] | None:
        """The point's component and labels; None where it is no sample, which is noted."""
        self._gathering.item += 1
        if point.flags & _NO_RECORDED_VALUE:
            self._gathering.pass_over("no_recorded_value")
            return None
        labels = {**self._scope.labels, **labels_of(point.attributes)}
        component = self._components.of(labels.pop(self._attribute, None) or self._scope.component)
        if isinstance(component, Unread):
            # One letter tells of a metric's points what is the same for all of them.
            if not self._refused:
                self._gathering.refuse(component.reason, f"{self._name}: {component.error}")
            self._refused = True
            self._gathering.pass_over(component.reason)
            return None
        return component, labels
