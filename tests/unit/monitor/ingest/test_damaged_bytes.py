"""Whatever bytes a foreign record has: a translator raises nothing, and what it gives can be sent."""

from __future__ import annotations

import json
import math

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint

from schemas.metrics import encode_batch, read_record
from services.monitor.domain.ingest.names import Names, Renaming
from services.monitor.domain.ingest.otlp import OtlpTerms, OtlpTranslator
from services.monitor.domain.ingest.otlp_encodings import decode_json, decode_protobuf
from services.monitor.domain.ingest.prometheus import PrometheusTerms, PrometheusTranslator
from services.monitor.domain.ingest.translation import Translator
from tests.unit.monitor.ingest.requests import (
    CUMULATIVE,
    explicit,
    exponential,
    gauge,
    histogram,
    nano,
    number,
    request,
    total,
)

_POINT = ExponentialHistogramDataPoint(
    start_time_unix_nano=nano(1), time_unix_nano=nano(60), count=9, scale=3, zero_count=2, zero_threshold=0.1
)
_POINT.positive.offset = -4
_POINT.positive.bucket_counts.extend([1, 0, 3])
_POINT.negative.bucket_counts.append(3)
PROTOBUF = request(
    gauge("g", number(1.5)),
    total("t", number(7.0)),
    histogram("h", explicit([1, 2, 3], [0.5, 1.0], sum=4.0, min=0.1, max=2.0), temporality=CUMULATIVE),
    exponential("e", _POINT),
)
JSON = json.dumps(
    MessageToDict(ExportMetricsServiceRequest.FromString(PROTOBUF), use_integers_for_enums=True)
).encode()
PROMETHEUS = b'{"timestamp":"2026-01-01T00:00:10Z","value":"456","name":"foo","labels":{"job":"checkout"}}'
NAMES = Names({"h": Renaming(factor=1e300, merge=True), "e": Renaming(merge=True)})


def _translators() -> dict[str, tuple[Translator, bytes]]:
    return {
        "protobuf": (OtlpTranslator(decode_protobuf, OtlpTerms(), NAMES), PROTOBUF),
        "json": (OtlpTranslator(decode_json, OtlpTerms(), NAMES), JSON),
        "prometheus": (PrometheusTranslator(PrometheusTerms(), NAMES), PROMETHEUS),
    }


def _check(translator: Translator, value: bytes) -> None:
    translated = translator.translate(value)
    for sample in translated.samples:
        assert math.isfinite(sample.value)
        read = read_record(encode_batch(sample.component, [sample]))
        assert read.samples == (sample,)
    for unread in translated.unread:
        assert unread.reason
        assert unread.error


@pytest.mark.parametrize("kind", ["protobuf", "json", "prometheus"])
@given(edits=st.lists(st.tuples(st.integers(0, 2_000), st.binary(max_size=3)), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_damaged_requests(kind: str, edits: list[tuple[int, bytes]]) -> None:
    translator, value = _translators()[kind]
    _check(translator, value)
    for place, replacement in edits:
        at = place % len(value)
        value = value[:at] + replacement + value[at + 1 :]
        _check(translator, value)


@pytest.mark.parametrize("kind", ["protobuf", "json", "prometheus"])
@given(value=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes(kind: str, value: bytes) -> None:
    _check(_translators()[kind][0], value)


@pytest.mark.parametrize("kind", ["protobuf", "json", "prometheus"])
def test_every_beginning_of_a_request(kind: str) -> None:
    translator, value = _translators()[kind]
    for end in range(len(value)):
        _check(translator, value[:end])
