from __future__ import annotations

import json

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from services.monitor.domain.ingest.names import Names
from services.monitor.domain.ingest.otlp import OtlpTerms, OtlpTranslator
from services.monitor.domain.ingest.otlp_encodings import decode_json, decode_protobuf
from tests.unit.monitor.ingest.requests import T0, nano


def test_null_is_a_field_that_is_not_given() -> None:
    """As protobuf's own reader of JSON has it."""
    point = {
        "attributes": None,
        "startTimeUnixNano": None,
        "timeUnixNano": str(nano(T0)),
        "asInt": "5",
        "exemplars": None,
        "flags": None,
    }
    nothing = {"dataPoints": None, "isMonotonic": None}
    metrics = [
        {"name": "g", "unit": None, "gauge": {"dataPoints": [point]}},
        {"name": "s", "sum": {"dataPoints": [point], "aggregationTemporality": 1, "isMonotonic": None}},
        {"name": "none", "sum": nothing},
    ]
    named = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop", "intValue": None}}]}
    document = {
        "resourceMetrics": [
            {"resource": named, "scopeMetrics": [{"scope": None, "metrics": metrics, "schemaUrl": None}]},
            {"resource": None, "scopeMetrics": None},
        ]
    }
    terms = OtlpTerms()
    found = OtlpTranslator(decode_json, terms, Names()).translate(json.dumps(document).encode())
    assert {each.metric: each.value for each in found.samples} == {"g": 5.0, "s": 5.0}
    encoded = ParseDict(document, ExportMetricsServiceRequest()).SerializeToString()
    assert found == OtlpTranslator(decode_protobuf, terms, Names()).translate(encoded)
    wrong = json.dumps({"resourceMetrics": [{"resource": None, "scopeMetrics": [None]}]}).encode()
    (unread,) = OtlpTranslator(decode_json, terms, Names()).translate(wrong).unread
    assert unread.reason == "invalid_otlp"
    assert "$.resourceMetrics[0].scopeMetrics[0]" in unread.error
