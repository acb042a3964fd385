"""Which points are of one series, and what several series together are: increases, never a fall."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)

from services.monitor.domain.ingest.names import Names, Renaming
from services.monitor.domain.ingest.otlp import OtlpTerms, OtlpTranslator
from services.monitor.domain.ingest.otlp_encodings import decode_json, decode_protobuf
from services.monitor.domain.ingest.translation import Translated
from tests.unit.monitor.ingest.requests import (
    CUMULATIVE,
    DELTA,
    T0,
    attributes,
    explicit,
    exponential,
    gauge,
    histogram,
    nano,
    number,
    request,
    total,
)

BOUNDS = [10.0, 100.0, 1_000.0]
MERGED = Names({"requests": Renaming(merge=True), "h": Renaming(merge=True)})
LONG_AGO = T0 - 86_400


class Reader:
    """One translator, asked request by request, in either encoding."""

    def __init__(self, encoding: str = "protobuf", names: Names | None = None) -> None:
        self._is_json = encoding == "json"
        decode = decode_json if self._is_json else decode_protobuf
        self._translator = OtlpTranslator(decode, OtlpTerms(), names or Names())

    def read(self, value: bytes) -> Translated:
        if self._is_json:
            message = ExportMetricsServiceRequest.FromString(value)
            value = json.dumps(MessageToDict(message, use_integers_for_enums=True)).encode()
        return self._translator.translate(value)

    def values(self, metric: str, value: bytes) -> list[float]:
        return [sample.value for sample in self.read(value).samples if sample.metric == metric]


def _scopes(*scopes: ScopeMetrics) -> bytes:
    return ExportMetricsServiceRequest(
        resource_metrics=[ResourceMetrics(scope_metrics=scopes)]
    ).SerializeToString()


def _scope(component: str, *metrics: Metric, version: str = "1", **more: Any) -> ScopeMetrics:
    named = InstrumentationScope(
        name="shop", version=version, attributes=attributes(service_name=component, **more)
    )
    return ScopeMetrics(scope=named, metrics=metrics)


def _growing(step: int, bucket: int) -> Metric:
    counts = [0, 0, 0, 0]
    counts[bucket] = 100 * (step + 1)
    point = explicit(counts, BOUNDS, at=T0 + 60 * step, start=T0 - 10)
    return histogram("h", point, temporality=CUMULATIVE)


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_scopes_that_differ_in_their_attributes_alone_are_two(encoding: str) -> None:
    reader = Reader(encoding)
    for step in range(3):
        found = reader.read(_scopes(_scope("a", _growing(step, 0)), _scope("b", _growing(step, 2))))
        p95 = {sample.component: sample.value for sample in found.samples if sample.metric == "h_p95"}
        assert p95 == {"a": 9.5, "b": 955.0}
        assert found.passed_over == {}


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"version": "1"}, {"version": "2"}),
        ({"shard": "1"}, {"shard": "2"}),
    ],
)
def test_what_names_a_scope_tells_its_series_apart(
    encoding: str, one: dict[str, str], other: dict[str, str]
) -> None:
    reader = Reader(encoding)
    for step in range(2):
        found = reader.read(
            _scopes(_scope("a", _growing(step, 0), **one), _scope("a", _growing(step, 2), **other))
        )
        assert found.passed_over == {}


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_schema_unit_and_kind_tell_series_apart(encoding: str) -> None:
    reader = Reader(encoding)

    def scope(step: int, unit: str, schema: str) -> ScopeMetrics:
        metric = _growing(step, 0)
        metric.unit = unit
        found = _scope("a", metric)
        found.schema_url = schema
        return found

    def sent(step: int) -> bytes:
        other_kind = ExponentialHistogramDataPoint(
            start_time_unix_nano=nano(T0 - 10), time_unix_nano=nano(T0 + 60 * step), count=1, zero_count=1
        )
        return _scopes(
            scope(step, "s", "https://example.org/1"),
            scope(step, "ms", "https://example.org/1"),
            scope(step, "s", "https://example.org/2"),
            _scope("a", exponential("h", other_kind, temporality=CUMULATIVE)),
        )

    for step in range(2):
        assert reader.read(sent(step)).passed_over == {}


def _counter(
    route: str, value: float | None, at: float, start: float = LONG_AGO, **more: Any
) -> NumberDataPoint:
    return number(value, at=at, start_time_unix_nano=nano(start), attributes=attributes(route=route), **more)


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_merged_counters_are_increases_and_do_not_fall_when_one_goes(encoding: str) -> None:
    reader = Reader(encoding, MERGED)
    flag = {"flags": 1}
    steps: list[tuple[list[NumberDataPoint], list[float]]] = [
        # Long-running counters that nobody has seen before say nothing of now.
        ([_counter("a", 2e6, T0), _counter("b", 7, T0)], []),
        ([_counter("a", 2e6 + 5, T0 + 60), _counter("b", 10, T0 + 60)], [8.0]),
        ([_counter("b", 12, T0 + 120)], [2.0]),
        ([_counter("a", None, T0 + 180, **flag), _counter("b", 13, T0 + 180)], [1.0]),
        # It is back: what came in meanwhile, of its own former point.
        ([_counter("a", 2e6 + 9, T0 + 240), _counter("b", 13, T0 + 240)], [4.0]),
        # Begun anew, with a new start and without one; and one that is new and young.
        ([_counter("a", 3, T0 + 300, start=T0 + 290), _counter("b", 1, T0 + 300)], [4.0]),
        ([_counter("a", 3, T0 + 360, start=T0 + 290), _counter("c", 6, T0 + 360, start=T0 + 350)], [6.0]),
        # A point that comes again, as when an exporter tries twice, adds nothing.
        ([_counter("a", 3, T0 + 360, start=T0 + 290)], []),
        ([_counter("a", float("nan"), T0 + 420, start=T0 + 290), _counter("b", 4, T0 + 420)], [3.0]),
    ]
    for number_of, (points, wanted) in enumerate(steps):
        assert reader.values("requests", request(total("requests", *points))) == wanted, number_of


def test_a_series_whose_start_is_its_own_first_point_was_counted_before() -> None:
    """The data model's mark of a start that nobody knows: the value is no increase."""
    reader = Reader(names=MERGED)
    points = (_counter("a", 5_000, T0, start=T0), _counter("a", 5_003, T0 + 60, start=T0))
    assert reader.read(request(total("requests", points[0]))).passed_over == {"no_former_point": 1}
    assert reader.values("requests", request(total("requests", points[1]))) == [3.0]


def test_what_a_former_owner_may_have_counted_is_not_counted_again() -> None:
    """A new owner sees only some of the records before its own: a young series may have been in others."""
    translator = OtlpTranslator(decode_protobuf, OtlpTerms(), MERGED)
    translator.resumes_at(T0 - 60)

    def sent(at: float, start: float, count: int) -> Translated:
        requests = total("requests", _counter("a", count, at, start=start))
        counted = explicit([0, count, 0, 0], BOUNDS, at=at, start=start)
        return translator.translate(request(requests, histogram("h", counted, temporality=CUMULATIVE)))

    def increases(found: Translated) -> list[float]:
        return [each.value for each in found.samples if each.metric in ("requests", "h_count")]

    first = sent(T0, T0 - 300, 1_000)
    assert (increases(first), first.passed_over) == ([], {"no_former_point": 2})
    assert increases(sent(T0 + 60, T0 - 300, 1_004)) == [4.0, 4.0]
    assert increases(sent(T0 + 60, T0 - 30, 7)) == [7.0, 7.0], "begun since then"


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_merged_sums_that_may_go_down_are_added_up_as_they_stand(encoding: str) -> None:
    metric = total("requests", _counter("a", 5, T0), _counter("b", 7, T0))
    metric.sum.is_monotonic = False
    assert Reader(encoding, MERGED).values("requests", request(metric)) == [12.0]


def test_merged_delta_sums_leave_out_only_what_is_no_number() -> None:
    metric = total("requests", _counter("a", float("nan"), T0), _counter("b", 7, T0), temporality=DELTA)
    found = Reader(names=MERGED).read(request(metric))
    assert [sample.value for sample in found.samples] == [7.0]
    assert found.passed_over == {"not_a_number": 1}


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_count_and_sum_of_merged_histograms_are_of_what_came_in(encoding: str) -> None:
    reader = Reader(encoding, MERGED)

    def sent(at: float, **counts: int) -> bytes:
        points = [
            explicit(
                [0, count, 0, 0],
                BOUNDS,
                at=at,
                start=LONG_AGO,
                sum=50.0 * count,
                attributes=attributes(route=route),
            )
            for route, count in counts.items()
        ]
        return request(histogram("h", *points, temporality=CUMULATIVE))

    def read(value: bytes) -> dict[str, float]:
        wanted = ("h_count", "h_sum", "h_p50")
        return {one.metric: one.value for one in reader.read(value).samples if one.metric in wanted}

    assert read(sent(T0, a=1_000_000, b=10)) == {}
    assert read(sent(T0 + 60, a=1_000_004, b=12)) == {"h_count": 6.0, "h_sum": 300.0, "h_p50": 55.0}
    assert read(sent(T0 + 120, b=13)) == {"h_count": 1.0, "h_sum": 50.0, "h_p50": 55.0}
    assert read(sent(T0 + 180, a=1_000_004, b=13)) == {"h_count": 0.0, "h_sum": 0.0}


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("temporality", [0, 3, 7])
def test_a_temporality_that_is_neither_is_unreadable(encoding: str, temporality: int) -> None:
    value = request(
        total("t", number(1.0), temporality=temporality),
        histogram("h", explicit([1, 1], [1.0]), temporality=temporality),
        gauge("g", number(1.0)),
    )
    found = Reader(encoding).read(value)
    assert [unread.reason for unread in found.unread] == ["invalid_temporality"] * 2
    assert f"temporality {temporality} " in found.unread[0].error
    assert [sample.metric for sample in found.samples] == ["g"]


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE])
def test_buckets_that_do_not_add_up_to_the_count_are_unreadable(encoding: str, temporality: int) -> None:
    wrong = explicit([4, 6], [1.0])
    wrong.count = 1_000
    only = explicit([5], [])
    only.count = 7
    empty = ExponentialHistogramDataPoint(time_unix_nano=nano(T0), count=7)
    found = Reader(encoding).read(
        request(
            histogram("h", wrong, only, temporality=temporality),
            exponential("e", empty, temporality=temporality),
            gauge("g", number(1.0)),
        )
    )
    assert [(unread.reason, unread.item) for unread in found.unread] == [
        ("invalid_histogram", 0),
        ("invalid_histogram", 1),
        ("invalid_histogram", 2),
    ]
    assert "the count is 1000, and the buckets hold 10" in found.unread[0].error
    assert [sample.metric for sample in found.samples] == ["g"]


@pytest.mark.parametrize("counts", [[], [7]])
def test_values_that_no_bucket_places_are_noted(counts: list[int]) -> None:
    """A histogram need not have bounds; that it has no quantiles then is not silent."""
    point = explicit(counts, [])
    point.count = 7
    found = Reader().read(request(histogram("h", point)))
    assert {sample.metric: sample.value for sample in found.samples} == {"h_count": 7.0}
    assert found.passed_over == {"no_buckets": 1}
