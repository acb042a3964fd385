"""Bytes as OpenTelemetry's own SDK and exporter make them."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.exporter.otlp.json.common.metrics_encoder import encode_metrics as encode_json
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as encode_protobuf
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, MetricsData
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

DELTA, CUMULATIVE = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE


class Service:
    """A service that is measured with OpenTelemetry's SDK, and exports when it is told to."""

    def __init__(
        self,
        name: str | None = "checkout",
        *,
        temporality: AggregationTemporality = DELTA,
        exponential: bool = False,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        kinds = (Counter, Histogram, ObservableCounter, UpDownCounter, ObservableUpDownCounter)
        self._reader = InMemoryMetricReader(preferred_temporality=dict.fromkeys(kinds, temporality))
        given = dict(attributes or {})
        if name is not None:
            given["service.name"] = name
        views = []
        if exponential:
            views.append(
                View(instrument_name="*duration*", aggregation=ExponentialBucketHistogramAggregation())
            )
        self._provider = MeterProvider(
            metric_readers=[self._reader], resource=Resource(given), views=views, shutdown_on_exit=False
        )
        self.meter = self._provider.get_meter("shop", "1.0.0")

    def protobuf(self) -> bytes:
        """What the exporter sends for all that was measured so far."""
        return encode_protobuf(self._measured()).SerializeToString()

    def json(self) -> bytes:
        """The same, as the exporter for OTLP/JSON sends it."""
        return encode_json(self._measured()).to_json().encode()

    def close(self) -> None:
        self._provider.shutdown()

    def _measured(self) -> MetricsData:
        data = self._reader.get_metrics_data()
        assert data is not None
        return data
