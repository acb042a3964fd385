"""How a file of JSON lines begins: an editor or a packer puts something there that a reader of JSON would
only call malformed, line after line."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from chassis.errors import UsageError

_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def beginning(first: bytes, source: str) -> bytes:
    """The first line of ``source``, or all of it, without a byte order mark of UTF-8. Raises UsageError for
    what is compressed or in UTF-16."""
    for magic, name in _COMPRESSED.items():
        if first.startswith(magic):
            raise UsageError(f"{source} is compressed ({name}): unpack it first")
    if first.startswith(_UTF_16):
        raise UsageError(f"{source} is in UTF-16: write it in UTF-8")
    return first.removeprefix(codecs.BOM_UTF8)


def plain_lines(lines: Iterable[bytes], source: str) -> Iterator[bytes]:
    """The lines, the first one as ``beginning`` has it."""
    every = iter(lines)
    for first in every:
        yield beginning(first, source)
        break
    yield from every
