"""Requests with what the SDK never sends: made of the protocol's messages, point by point."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

T0 = 1_767_225_600
DELTA, CUMULATIVE = 1, 2


def nano(at: float) -> int:
    return int(at * 1_000_000_000)


def attributes(**values: str) -> list[KeyValue]:
    return [KeyValue(key=key.replace("_", "."), value=AnyValue(string_value=v)) for key, v in values.items()]


def request(*metrics: Metric, **resource: str) -> bytes:
    """One resource's metrics; ``service_name="a"`` is the attribute service.name."""
    named = resource or {"service_name": "checkout"}
    scope = ScopeMetrics(metrics=metrics)
    return ExportMetricsServiceRequest(
        resource_metrics=[
            ResourceMetrics(resource=Resource(attributes=attributes(**named)), scope_metrics=[scope])
        ]
    ).SerializeToString()


def number(value: float | None = None, at: float = T0, **more: Any) -> NumberDataPoint:
    if value is not None:
        more["as_double"] = value
    return NumberDataPoint(time_unix_nano=nano(at), **more)


def gauge(name: str, *points: NumberDataPoint) -> Metric:
    return Metric(name=name, gauge=Gauge(data_points=points))


def total(name: str, *points: NumberDataPoint, temporality: int = CUMULATIVE) -> Metric:
    data = Sum(data_points=points, aggregation_temporality=temporality, is_monotonic=True)  # type: ignore[arg-type]
    return Metric(name=name, sum=data)


def explicit(
    counts: Iterable[int], bounds: Iterable[float], at: float = T0, start: float = T0 - 60, **more: Any
) -> HistogramDataPoint:
    counted = list(counts)
    return HistogramDataPoint(
        start_time_unix_nano=nano(start),
        time_unix_nano=nano(at),
        count=sum(counted),
        bucket_counts=counted,
        explicit_bounds=list(bounds),
        **more,
    )


def histogram(name: str, *points: HistogramDataPoint, temporality: int = DELTA) -> Metric:
    data = Histogram(data_points=points, aggregation_temporality=temporality)  # type: ignore[arg-type]
    return Metric(name=name, histogram=data)


def exponential(name: str, *points: ExponentialHistogramDataPoint, temporality: int = DELTA) -> Metric:
    data = ExponentialHistogram(data_points=points, aggregation_temporality=temporality)  # type: ignore[arg-type]
    return Metric(name=name, exponential_histogram=data)


def summary(name: str, *points: SummaryDataPoint) -> Metric:
    return Metric(name=name, summary=Summary(data_points=points))
