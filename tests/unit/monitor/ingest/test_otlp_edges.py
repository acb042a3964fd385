"""Requests that say little, or contradict themselves: no point vanishes, and none is made up."""

from __future__ import annotations

import json
import math

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Metric,
    SummaryDataPoint,
)

from services.monitor.domain.ingest.names import Names, Renaming
from services.monitor.domain.ingest.otlp import OtlpTerms, OtlpTranslator
from services.monitor.domain.ingest.otlp_encodings import decode_json, decode_protobuf
from services.monitor.domain.ingest.translation import Translated
from tests.unit.monitor.ingest.reading import translate, values
from tests.unit.monitor.ingest.requests import (
    DELTA,
    T0,
    attributes,
    explicit,
    gauge,
    histogram,
    nano,
    number,
    request,
    summary,
    total,
)

NAN, INFINITY = math.nan, math.inf
EXEMPLAR = {
    "timeUnixNano": 1,
    "asDouble": 1,
    "traceId": "5b8efff798038103d269b633813fc6",
    "spanId": "EEE19B7",
}


@pytest.mark.parametrize(
    ("decode", "value", "reason"),
    [
        (decode_protobuf, None, "empty"),
        (decode_protobuf, request(gauge("g", number(1.0)))[:-3], "invalid_protobuf"),
        (decode_protobuf, b'{"resourceMetrics": []}', "invalid_protobuf"),
        (decode_protobuf, b"\xff" * 40, "invalid_protobuf"),
        (decode_json, None, "empty"),
        (decode_json, b"", "empty"),
        (decode_json, b'{"resourceMetrics": [', "invalid_json"),
        (decode_json, b"[]", "invalid_otlp"),
        (
            decode_json,
            b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"\xff"}]}]}]}',
            "invalid_utf8",
        ),
        (decode_json, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep"),
        (decode_json, b'{"resourceMetrics": 5}', "invalid_otlp"),
        (decode_json, b'{"resourceSpans": []}', "invalid_otlp"),
        (decode_json, b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":5}]}]}]}', "invalid_otlp"),
        (decode_json, request(gauge("g", number(1.0))), "invalid_json"),
    ],
)
def test_no_request_is_one_unreadable_record(decode: object, value: bytes | None, reason: str) -> None:
    found = OtlpTranslator(decode, OtlpTerms(), Names()).translate(value)  # type: ignore[arg-type]
    assert [(unread.reason, unread.item) for unread in found.unread] == [(reason, None)]
    assert found.samples == ()


@pytest.mark.parametrize("value", [b"{}", b" {} ", b'{"resourceMetrics": []}', b'{"resourceMetrics":[{}]}'])
def test_an_empty_json_request_is_nothing(value: bytes) -> None:
    assert OtlpTranslator(decode_json, OtlpTerms(), Names()).translate(value) == Translated()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeUnixNano", '"soon"'),
        ("timeUnixNano", "-1"),
        ("timeUnixNano", "1e30"),
        ("asInt", '"99999999999999999999"'),
        ("asDouble", '"much"'),
        ("flags", "-1"),
        ("attributes", "5"),
    ],
)
def test_a_json_number_out_of_its_range_is_named_with_its_path(field: str, value: str) -> None:
    points = f'{{"dataPoints": [{{"{field}": {value}}}]}}'
    document = f'{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"g","gauge":{points}}}]}}]}}]}}'
    (unread,) = OtlpTranslator(decode_json, OtlpTerms(), Names()).translate(document.encode()).unread
    assert unread.reason == "invalid_otlp"
    assert "$.resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0]" in unread.error


@pytest.mark.parametrize("value", [b"", request(), request(gauge("g")), request(histogram("h"))])
def test_a_request_without_points_is_nothing(value: bytes) -> None:
    assert translate(value) == Translated()


def test_points_that_say_nothing_are_counted_by_reason() -> None:
    found = translate(
        request(
            gauge("g", number(NAN), number(INFINITY), number(-INFINITY), number(2.0), number()),
            gauge("g", number(3.0, flags=1)),
            total("t", number(flags=1)),
            histogram("h", explicit([1], [], flags=1)),
            Metric(name="of a kind that is not known"),
        )
    )
    assert [sample.value for sample in found.samples] == [2.0]
    assert found.unread == ()
    assert found.passed_over == {
        "not_a_number": 1,
        "infinite": 2,
        "no_value": 1,
        "no_recorded_value": 3,
        "unknown_kind": 1,
    }


def test_a_summary_keeps_the_quantiles_that_triggers_know() -> None:
    quantile = SummaryDataPoint.ValueAtQuantile
    point = SummaryDataPoint(
        time_unix_nano=nano(T0),
        count=9,
        sum=18.0,
        quantile_values=[quantile(quantile=0.5, value=2.0), quantile(quantile=0.25, value=1.0)],
    )
    assert values(translate(request(summary("s", point)))) == {"s_count": 9.0, "s_sum": 18.0, "s_p50": 2.0}


def test_the_component_is_the_nearest_attribute_a_default_or_missing() -> None:
    named = number(1.0, attributes=attributes(component="extraction", route="/"))
    terms = OtlpTerms(component_attribute="component")
    (sample,) = translate(request(gauge("g", named)), terms).samples
    assert (sample.component, sample.labels) == ("extraction", {"route": "/"})
    labelled = OtlpTerms(resource_labels=("service.name", "host.name"))
    (sample,) = translate(request(gauge("g", number(1.0)), service_name="a", host_name="b"), labelled).samples
    assert (sample.component, sample.labels) == ("a", {"host.name": "b"})
    nameless = request(gauge("g", number(1.0), number(2.0)), host_name="a")
    found = translate(nameless)
    assert [(unread.reason, unread.item) for unread in found.unread] == [("no_component", None)]
    assert "service.name" in found.unread[0].error
    assert found.passed_over == {"no_component": 2}
    by_default = translate(nameless, OtlpTerms(default_component="others"))
    assert [sample.component for sample in by_default.samples] == ["others", "others"]


def test_a_record_of_which_nothing_can_be_read_for_one_reason_is_told_once() -> None:
    """Each export of a service without a name has dozens of metrics; and all of it can be read again."""
    metrics = [gauge(name, number(1.0), number(2.0)) for name in ("a", "b", "c")]
    (unread,) = translate(request(*metrics, host_name="x")).unread
    assert (unread.reason, unread.item) == ("no_component", None)
    assert unread.error.startswith("a: ")
    assert unread.error.endswith(" (and 2 more like this)")
    named = OtlpTerms(component_attribute="component")
    metrics.append(gauge("d", number(3.0, attributes=attributes(component="checkout"))))
    found = translate(request(*metrics, host_name="x"), named)
    assert [each.item for each in found.unread] == [0, 2, 4]
    assert len(found.samples) == 1
    several = translate(request(gauge("a", number(1.0, at=0)), gauge("", number(1.0))))
    assert [(each.reason, each.item) for each in several.unread] == [("invalid_time", 0), ("invalid_name", 1)]


def test_a_name_that_is_no_components_is_refused_or_mapped() -> None:
    value = request(gauge("g", number(1.0)), service_name="unknown_service:python")
    (unread,) = translate(value).unread
    assert unread.reason == "invalid_component"
    assert "unknown_service:python" in unread.error
    assert "ingest.yml" in unread.error
    names = Names(components={"unknown_service:python": "checkout"})
    assert [sample.component for sample in translate(value, names=names).samples] == ["checkout"]


def test_missing_times_long_names_and_an_unknown_temporality() -> None:
    found = translate(
        request(
            gauge("g", number(1.0, at=0), number(2.0)),
            gauge("x" * 257, number(1.0)),
            gauge("", number(1.0)),
            total("t", number(1.0), temporality=0),
        )
    )
    assert [(unread.reason, unread.item) for unread in found.unread] == [
        ("invalid_time", 0),
        ("invalid_name", 2),
        ("invalid_name", 3),
        ("invalid_temporality", 4),
    ]
    assert values(found) == {"g": 2.0}


def test_a_mapping_renames_scales_and_leaves_out() -> None:
    names = Names({"g": Renaming("gigabytes", 1e-9), "h": Renaming(factor=1000.0)}, keep_others=False)
    value = request(
        gauge("g", number(8e9)),
        gauge("other", number(1.0), number(1.0)),
        histogram("h", explicit([0, 100], [1.0], sum=150.0, max=2.0)),
    )
    found = translate(value, names=names)
    assert values(found) == {
        "gigabytes": pytest.approx(8.0),
        "h_count": 100.0,
        "h_sum": 150_000.0,
        "h_p50": 1_500.0,
        "h_p90": 1_900.0,
        "h_p95": 1_950.0,
        "h_p99": 1_990.0,
    }
    assert found.passed_over == {"not_listed": 2}


def test_json_in_the_shape_of_the_protocols_example() -> None:
    """Numbers and texts for 64-bit integers, hexadecimal ids, enumerations as numbers, unknown fields."""
    document = {
        "resourceMetrics": [
            {
                "resource": {
                    "attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}],
                    "fieldOfTomorrow": {"a": 1},
                },
                "scopeMetrics": [
                    {
                        "scope": {"name": "my.library", "version": "1.0.0"},
                        "metrics": [
                            {
                                "name": "my.counter",
                                "unit": "1",
                                "sum": {
                                    "aggregationTemporality": 1,
                                    "isMonotonic": True,
                                    "dataPoints": [
                                        {
                                            "asInt": "9007199254740993",
                                            "timeUnixNano": "1544712660300000000",
                                            "exemplars": [EXEMPLAR],
                                        }
                                    ],
                                },
                            },
                            {
                                "name": "my.gauge",
                                "gauge": {
                                    "dataPoints": [
                                        {"asDouble": 10, "timeUnixNano": 1544712660300000000},
                                        {"asDouble": "NaN", "timeUnixNano": 1544712660300000000},
                                        {"asDouble": "-Infinity", "timeUnixNano": "1544712660300000000"},
                                    ]
                                },
                            },
                            {
                                "name": "my.histogram",
                                "histogram": {
                                    "aggregationTemporality": DELTA,
                                    "dataPoints": [
                                        {
                                            "startTimeUnixNano": "1544712660000000000",
                                            "timeUnixNano": "1544712660300000000",
                                            "count": "2",
                                            "sum": 2,
                                            "bucketCounts": ["1", 1],
                                            "explicitBounds": [1],
                                            "min": 0,
                                            "max": 2,
                                            "exemplars": [EXEMPLAR],
                                        }
                                    ],
                                },
                            },
                        ],
                    }
                ],
            }
        ]
    }
    found = OtlpTranslator(decode_json, OtlpTerms(), Names()).translate(json.dumps(document).encode())
    assert found.unread == ()
    assert {sample.component for sample in found.samples} == {"my.service"}
    assert {sample.time for sample in found.samples} == {1544712660.3}
    assert values(found) == {
        "my.counter": 9007199254740993.0,
        "my.gauge": 10.0,
        "my.histogram_count": 2.0,
        "my.histogram_sum": 2.0,
        "my.histogram_p50": 1.0,
        "my.histogram_p90": pytest.approx(1.8),
        "my.histogram_p95": pytest.approx(1.9),
        "my.histogram_p99": pytest.approx(1.98),
    }
    assert found.passed_over == {"not_a_number": 1, "infinite": 1}


def test_attributes_of_every_kind_become_texts_in_both_encodings() -> None:
    kinds = [
        ("text", {"stringValue": "a b"}, "a b"),
        ("yes", {"boolValue": True}, "true"),
        ("whole", {"intValue": "-7"}, "-7"),
        ("half", {"doubleValue": 0.5}, "0.5"),
        ("bytes", {"bytesValue": "aGk="}, "aGk="),
        ("list", {"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "x"}]}}, '[1,"x"]'),
        ("map", {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": False}}]}}, '{"k":false}'),
        ("none", {}, ""),
    ]
    point = {
        "timeUnixNano": str(nano(T0)),
        "asInt": 1,
        "attributes": [{"key": key, "value": value} for key, value, _ in kinds],
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}]}
    scopes = [{"metrics": [{"name": "g", "gauge": {"dataPoints": [point]}}]}]
    document = {"resourceMetrics": [{"resource": resource, "scopeMetrics": scopes}]}
    encoded = ParseDict(document, ExportMetricsServiceRequest()).SerializeToString()
    for decode, value in ((decode_json, json.dumps(document).encode()), (decode_protobuf, encoded)):
        (sample,) = OtlpTranslator(decode, OtlpTerms(), Names()).translate(value).samples
        assert sample.labels == {key: text for key, _, text in kinds}
