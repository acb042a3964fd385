from __future__ import annotations

import bz2
import codecs
import gzip
import lzma

import pytest

from chassis.errors import UsageError
from chassis.json_lines import plain_lines

LINES = [b'{"a": 1}\n', b'{"a": 2}\n']


def test_a_byte_order_mark_is_left_out_of_the_first_line_alone() -> None:
    marked = [codecs.BOM_UTF8 + LINES[0], codecs.BOM_UTF8 + LINES[1]]
    assert list(plain_lines(marked, "x")) == [LINES[0], codecs.BOM_UTF8 + LINES[1]]
    assert list(plain_lines(LINES, "x")) == LINES
    assert list(plain_lines([], "x")) == []


@pytest.mark.parametrize(
    ("packed", "name"),
    [
        (gzip.compress(b"".join(LINES), mtime=0), "gzip"),
        (bz2.compress(b"".join(LINES)), "bzip2"),
        (lzma.compress(b"".join(LINES)), "xz"),
        (b"\x28\xb5\x2f\xfd\x04\x58", "zstd"),
    ],
    ids=["gzip", "bzip2", "xz", "zstd"],
)
def test_a_compressed_file_is_called_that(packed: bytes, name: str) -> None:
    with pytest.raises(UsageError, match=f"samples is compressed .{name}.: unpack it first"):
        list(plain_lines(packed.splitlines(keepends=True), "samples"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_what_is_in_utf_16_is_called_that(encoding: str) -> None:
    text = b"".join(LINES).decode()
    coded = text.encode(encoding) if encoding == "utf-16" else codecs.BOM_UTF16_BE + text.encode(encoding)
    with pytest.raises(UsageError, match="UTF-16"):
        list(plain_lines(coded.splitlines(keepends=True), "samples"))


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (b"timestamp,value\n", "CSV, it seems"),
        (b"time;metric;value\r\n", "CSV, it seems"),
        (b'"2026-01-01 00:00:00",3.5\n', "CSV, it seems"),
        (b'{"status":"success","data":{"resultType":"matrix","result":[]}}', "an answer of Prometheus"),
        (b'{"resourceMetrics":[]}\n', "OTLP/JSON"),
        (b"[\n", "one JSON array"),
    ],
)
def test_another_systems_form_is_called_that_once(first: bytes, name: str) -> None:
    with pytest.raises(UsageError, match=rf"^history is {name}, and JSON lines are read: docs/"):
        list(plain_lines([first, b"1,2\n"], "history"))


@pytest.mark.parametrize("first", [b"", b"no sample", b'"a": 1, "b": 2}', b'{"metric": "resourceMetrics"}'])
def test_a_line_that_is_only_broken_is_left_to_who_reads_it(first: bytes) -> None:
    assert list(plain_lines([first, *LINES], "x")) == [first, *LINES]
