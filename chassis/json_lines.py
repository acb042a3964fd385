"""How a file of JSON lines begins: an editor or a packer puts something there that a reader of JSON would
only call malformed, line after line."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator

from chassis.errors import UsageError

_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_CSV = re.compile(rb'["\w][^{}\[\]]*([,;\t][^{}\[\],;\t]*)+')
_HOW = 'docs/triggers-testing.md, "From other systems", shows how to make them'
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def beginning(first: bytes, source: str) -> bytes:
    """The first line of ``source``, or all of it, without a byte order mark of UTF-8. Raises UsageError for
    what is compressed, in UTF-16, or in another system's form as a whole."""
    for magic, name in _COMPRESSED.items():
        if first.startswith(magic):
            raise UsageError(f"{source} is compressed ({name}): unpack it first")
    if first.startswith(_UTF_16):
        raise UsageError(f"{source} is in UTF-16: write it in UTF-8")
    plain = first.removeprefix(codecs.BOM_UTF8)
    form = _foreign_form(plain.split(b"\n", 1)[0].strip())
    if form is not None:
        raise UsageError(f"{source} is {form}, and JSON lines are read: {_HOW}")
    return plain


def _foreign_form(line: bytes) -> str | None:
    """What a file is that begins with this line, where every line of it would be complained of."""
    head = line[:200]
    if line.startswith(b"["):
        return "one JSON array"
    if b'"resultType"' in head:
        return "an answer of Prometheus"
    if line.startswith(b'{"resourceMetrics"'):
        return "OTLP/JSON"
    return "CSV, it seems" if _CSV.fullmatch(line) else None


def plain_lines(lines: Iterable[bytes], source: str) -> Iterator[bytes]:
    """The lines, the first one as ``beginning`` has it."""
    every = iter(lines)
    for first in every:
        yield beginning(first, source)
        break
    yield from every
