"""OTLP/JSON as values that read like the protocol's own messages.

Reading JSON into protobuf's messages takes several times as long as all the rest of a translation.
So the same fields, by the same names, are read into structs, which answer the two questions that
the translator asks of a message: which of several fields is set, and whether one is.

The rules are OTLP's: camel case, 64-bit integers as texts or numbers, enumerations as numbers, ``NaN``
and ``Infinity`` as texts, unknown fields ignored; ``null`` is a field that is not given. Exemplars (the
only place of ids) are not read.
See https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""
# ruff: noqa: N802 - the methods are called as protobuf calls them.

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Small = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]


class _Message(msgspec.Struct, rename="camel", gc=False):
    """The base of all of them: fields in camel case."""

    def HasField(self, name: str) -> bool:
        """Whether an optional field is given."""
        return getattr(self, name) is not None


class Value(_Message):
    """An attribute's value; of its fields one is set, or none."""

    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Whole | None = None
    double_value: float | None = None
    bytes_value: bytes | None = None
    array_value: ValueList | None = None
    kvlist_value: AttributeList | None = None

    def WhichOneof(self, _group: str) -> str | None:
        return next((name for name in self.__struct_fields__ if getattr(self, name) is not None), None)


class ValueList(_Message):
    values: list[Value] = []


class Attribute(_Message):
    key: str = ""
    value: Value = msgspec.field(default_factory=Value)


class AttributeList(_Message):
    values: list[Attribute] = []


class _Point(_Message):
    attributes: list[Attribute] = []
    start_time_unix_nano: Count = 0
    time_unix_nano: Count = 0
    flags: Count = 0


class NumberPoint(_Point):
    as_double: float | None = None
    as_int: Whole | None = None

    def WhichOneof(self, _group: str) -> str | None:
        if self.as_int is not None:
            return "as_int"
        return None if self.as_double is None else "as_double"


class _DistributionPoint(_Point):
    count: Count = 0
    sum: float | None = None
    min: float | None = None
    max: float | None = None


class HistogramPoint(_DistributionPoint):
    bucket_counts: list[Count] = []
    explicit_bounds: list[float] = []


class ExponentialBuckets(_Message):
    offset: Small = 0
    bucket_counts: list[Count] = []


class ExponentialPoint(_DistributionPoint):
    scale: Small = 0
    zero_count: Count = 0
    zero_threshold: float = 0.0
    positive: ExponentialBuckets = msgspec.field(default_factory=ExponentialBuckets)
    negative: ExponentialBuckets = msgspec.field(default_factory=ExponentialBuckets)


class Quantile(_Message):
    quantile: float = 0.0
    value: float = 0.0


class SummaryPoint(_Point):
    count: Count = 0
    sum: float = 0.0
    quantile_values: list[Quantile] = []


class Gauge(_Message):
    data_points: list[NumberPoint] = []


class Sum(_Message):
    data_points: list[NumberPoint] = []
    aggregation_temporality: Small = 0
    is_monotonic: bool = False


class Histogram(_Message):
    data_points: list[HistogramPoint] = []
    aggregation_temporality: Small = 0


class ExponentialHistogram(_Message):
    data_points: list[ExponentialPoint] = []
    aggregation_temporality: Small = 0


class Summary(_Message):
    data_points: list[SummaryPoint] = []


class Metric(_Message):
    name: str = ""
    unit: str = ""
    gauge: Gauge | None = None
    sum: Sum | None = None
    histogram: Histogram | None = None
    exponential_histogram: ExponentialHistogram | None = None
    summary: Summary | None = None

    def WhichOneof(self, _group: str) -> str | None:
        kinds = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
        return next((kind for kind in kinds if getattr(self, kind) is not None), None)


class Scope(_Message):
    name: str = ""
    version: str = ""
    attributes: list[Attribute] = []


class ScopeMetrics(_Message):
    scope: Scope = msgspec.field(default_factory=Scope)
    metrics: list[Metric] = []
    schema_url: str = ""


class Resource(_Message):
    attributes: list[Attribute] = []


class ResourceMetrics(_Message):
    resource: Resource = msgspec.field(default_factory=Resource)
    scope_metrics: list[ScopeMetrics] = []


class MetricsRequest(_Message):
    """An ExportMetricsServiceRequest."""

    resource_metrics: list[ResourceMetrics]


_decode = msgspec.json.Decoder(MetricsRequest, strict=False).decode


def decode_request(value: bytes) -> MetricsRequest:
    """Raises msgspec.DecodeError (ValidationError for another shape), UnicodeDecodeError and
    RecursionError."""
    try:
        return _decode(value)
    except msgspec.ValidationError:
        given = _without_nulls(msgspec.json.decode(value))
        return msgspec.convert(given, MetricsRequest, strict=False)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
