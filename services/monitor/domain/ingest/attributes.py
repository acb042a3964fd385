"""OpenTelemetry's attributes as labels: texts by name."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

MAX_DEPTH = 16


def labels(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """A text is kept as it is; true and false, numbers, lists and mappings as in JSON, bytes in
    Base64. An attribute without a value is an empty text."""
    return {attribute.key: _text(attribute.value) for attribute in attributes}


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind is None:
        return ""
    plain = _plain(value, MAX_DEPTH)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _plain(value: AnyValue, depth: int) -> Any:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "array_value" if depth > 0:
            return [_plain(item, depth - 1) for item in value.array_value.values]
        case "kvlist_value" if depth > 0:
            return {item.key: _plain(item.value, depth - 1) for item in value.kvlist_value.values}
        case _:
            return None
