"""Trace contexts of metric records: which are read, how long they are kept, which a trigger rests on."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from services.monitor.domain.engine.outcomes import Evidence
from services.monitor.domain.traces import Traces, traceparent_of

CONTEXT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass(frozen=True)
class Headed:
    offset: int
    headers: tuple[tuple[str, bytes], ...] = ()


def traced(offset: int) -> Headed:
    return Headed(offset, (("traceparent", _context(offset).encode()),))


def _context(offset: int) -> str:
    return f"00-{offset + 1:032x}-{offset + 1:016x}-01"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (CONTEXT, True),
        (CONTEXT.replace("00-4b", "01-4b"), True),
        (CONTEXT.replace("00-4b", "01-4b") + "-more", True),
        (CONTEXT + "-more", False),
        (CONTEXT.upper(), False),
        (CONTEXT.replace("00-4b", "ff-4b"), False),
        (CONTEXT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32), False),
        (CONTEXT.replace("00f067aa0ba902b7", "0" * 16), False),
        (CONTEXT[:-1], False),
        ("", False),
        ("\udcff", False),
    ],
)
def test_a_context_is_read_if_it_is_of_the_standards_form(value: str, read: bool) -> None:
    headers = [("other", b"x"), ("traceparent", value.encode("utf-8", "surrogateescape"))]
    assert traceparent_of(headers) == (value if read else None)


def test_the_contexts_of_the_records_that_decided_the_last_first() -> None:
    traces = Traces()
    traces.note([traced(0), Headed(1), traced(2), traced(3)])
    assert traces.of(Evidence(0, 0, 3, 4)) == (_context(3), _context(0))
    assert traces.of(Evidence(0, 2, 2, 1)) == (_context(2),)
    assert traces.of(Evidence(0, 1, 1, 1)) == ()
    assert traces.of(None) == ()


def test_only_the_newest_are_kept() -> None:
    traces = Traces(kept=2)
    traces.note([traced(offset) for offset in range(5)])
    traces.note([traced(5)])
    assert traces.of(Evidence(0, 3, 5, 1)) == (_context(5),)
    assert traces.of(Evidence(0, 4, 5, 1)) == (_context(5), _context(4))
