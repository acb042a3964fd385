"""The two encodings of OpenTelemetry's ExportMetricsServiceRequest, with the reasons why bytes are none."""

from __future__ import annotations

from typing import cast

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from services.monitor.domain.ingest.otlp_json import decode_request


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
    """Raises NotOtlp. What it gives is no message, but reads like one. Without ``resourceMetrics`` it
    is another signal's request, unless it is empty."""
    if not value:
        raise NotOtlp("empty", "the record has no value")
    if value.strip() == b"{}":
        return ExportMetricsServiceRequest()
    try:
        return cast("ExportMetricsServiceRequest", decode_request(value))
    except UnicodeDecodeError as error:
        message = f"not UTF-8: {error.reason} at byte {error.start} of a text"
        raise NotOtlp("invalid_utf8", message) from error
    except RecursionError as error:
        raise NotOtlp("too_deep", "nested too deeply") from error
    except msgspec.ValidationError as error:
        raise NotOtlp("invalid_otlp", str(error)) from error
    except msgspec.DecodeError as error:
        raise NotOtlp("invalid_json", str(error)) from error
