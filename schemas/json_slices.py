"""The parts of a JSON text, cut out without being read.

A decoder refuses a text as a whole: one NaN, or one value that is nested too deeply, takes the
ninety-nine good values beside it along. Cut into its parts first, each part is then decoded, and
refused, on its own. What is cut out is only balanced text: whether it is JSON, its decoder says.
"""

from __future__ import annotations

import re

import msgspec

# A lone quotation mark begins a text that never ends.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{},:]', re.DOTALL)
_CLOSES = {b"[": b"]", b"{": b"}"}
_SPACE = b" \t\r\n"
_decode_key = msgspec.json.Decoder(str).decode


def fields_of(text: bytes) -> dict[str, bytes] | None:
    """The values of an object by key (of equal keys the last one); None if it is no object."""
    parts = _parts(text, b"{")
    if parts is None:
        return None
    fields = {}
    for part in parts:
        key = _TOKEN.match(part)
        if key is None or not part.startswith(b'"'):
            return None
        value = part[key.end() :].lstrip(_SPACE)
        if not value.startswith(b":"):
            return None
        try:
            fields[_decode_key(key.group())] = value[1:].lstrip(_SPACE)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
    return fields


def items_of(text: bytes) -> list[bytes] | None:
    """The items of an array; None if it is no array."""
    return _parts(text, b"[")


def _parts(text: bytes, opening: bytes) -> list[bytes] | None:
    """What stands between the commas of the outermost brackets, which are of the kind ``opening``."""
    text = text.strip(_SPACE)
    if not text.startswith(opening):
        return None
    parts: list[bytes] = []
    awaited: list[bytes] = []
    begin = 1
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark in _CLOSES:
            awaited.append(_CLOSES[mark])
        elif mark in (b"]", b"}"):
            if mark != awaited.pop():
                return None
            if not awaited:
                return _ended(text, parts, begin, token)
        elif mark == b'"':
            return None
        elif mark == b"," and len(awaited) == 1:
            parts.append(text[begin : token.start()].strip(_SPACE))
            begin = token.end()
    return None


def _ended(text: bytes, parts: list[bytes], begin: int, last: re.Match[bytes]) -> list[bytes] | None:
    if last.end() != len(text):
        return None
    rest = text[begin : last.start()].strip(_SPACE)
    return [*parts, rest] if parts or rest else []
