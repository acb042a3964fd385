"""The two encodings of OpenTelemetry's ExportMetricsServiceRequest: protobuf and JSON.

OTLP/JSON is protobuf's JSON mapping with other rules for ids (hexadecimal) and enumerations
(numbers); unknown fields are ignored by both. Exemplars hold the only ids of metrics, and no
sample needs them: they are left out before they would be read as Base64.
See https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

from typing import Any

import msgspec
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

_DISTRIBUTIONS = ("gauge", "sum", "histogram", "exponentialHistogram", "exponential_histogram")
_decode_json = msgspec.json.Decoder(dict[str, Any]).decode


class NotOtlp(ValueError):
    """The bytes are no request; ``reason`` is ``empty``, ``invalid_protobuf``, ``invalid_json``,
    ``invalid_utf8``, ``too_deep`` or ``invalid_otlp``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def decode_protobuf(value: bytes | None) -> ExportMetricsServiceRequest:
    """Raises NotOtlp. No bytes at all are a request without metrics, as protobuf has it."""
    if value is None:
        raise NotOtlp("empty", "the record has no value")
    try:
        return ExportMetricsServiceRequest.FromString(value)
    except DecodeError as error:
        mend = " (it looks like JSON: set the encoding to json)" if value[:1] == b"{" else ""
        raise NotOtlp("invalid_protobuf", f"{error}{mend}") from error


def decode_json(value: bytes | None) -> ExportMetricsServiceRequest:
    """Raises NotOtlp."""
    if not value:
        raise NotOtlp("empty", "the record has no value")
    try:
        document = _decode_json(value)
    except UnicodeDecodeError as error:
        message = f"not UTF-8: {error.reason} at byte {error.start} of a text"
        raise NotOtlp("invalid_utf8", message) from error
    except msgspec.DecodeError as error:
        raise NotOtlp("invalid_json", str(error)) from error
    except RecursionError as error:
        raise NotOtlp("too_deep", "nested too deeply") from error
    if not document.keys() & {"resourceMetrics", "resource_metrics"} and document:
        raise NotOtlp("invalid_otlp", f"no `resourceMetrics`, but {', '.join(sorted(document))[:200]}")
    _drop_exemplars(document)
    try:
        return ParseDict(document, ExportMetricsServiceRequest(), ignore_unknown_fields=True)
    except (ParseError, RecursionError, UnicodeEncodeError) as error:
        raise NotOtlp("invalid_otlp", str(error)[:500]) from error


def _drop_exemplars(document: dict[str, Any]) -> None:
    """Take the exemplars out. What has another shape is left to the parser, which names it."""
    for resource in _items(document, "resourceMetrics", "resource_metrics"):
        for scope in _items(resource, "scopeMetrics", "scope_metrics"):
            for metric in _items(scope, "metrics"):
                for name in _DISTRIBUTIONS:
                    data = metric.get(name)
                    if isinstance(data, dict):
                        for point in _items(data, "dataPoints", "data_points"):
                            point.pop("exemplars", None)


def _items(holder: dict[str, Any], *names: str) -> list[dict[str, Any]]:
    found = next((holder[name] for name in names if name in holder), None)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
