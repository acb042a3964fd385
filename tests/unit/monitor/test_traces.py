"""Trace contexts of metric records: which are read, how long they are kept, which a trigger rests on."""

from __future__ import annotations

import timeit
from dataclasses import dataclass, replace

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
        (CONTEXT, CONTEXT),
        (CONTEXT[:-2] + "00", CONTEXT[:-2] + "00"),
        # What a later version says beyond the first one is not handed on, however much it is.
        (CONTEXT.replace("00-4b", "01-4b"), CONTEXT),
        (CONTEXT.replace("00-4b", "01-4b") + "-more" * 10_000, CONTEXT),
        (CONTEXT.replace("00-4b", "cc-4b")[:-2] + "08", CONTEXT[:-2] + "00"),
        (CONTEXT + "-more", None),
        (CONTEXT.upper(), None),
        (CONTEXT.replace("00-4b", "ff-4b"), None),
        (CONTEXT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32), None),
        (CONTEXT.replace("00f067aa0ba902b7", "0" * 16), None),
        (CONTEXT[:-1], None),
        ("", None),
        ("\udcff", None),
    ],
)
def test_a_context_is_read_if_it_is_of_the_standards_form(value: str, read: str | None) -> None:
    headers = [("other", b"x"), ("traceparent", value.encode("utf-8", "surrogateescape"))]
    assert traceparent_of(headers) == read


def test_the_contexts_of_the_records_that_decided_the_last_first() -> None:
    traces = Traces()
    traces.note([traced(0), Headed(1), traced(2), traced(3)])
    assert traces.of(Evidence(0, 0, 3, 4)) == (_context(3), _context(0))
    assert traces.of(Evidence(0, 2, 2, 1)) == (_context(2),)
    assert traces.of(Evidence(0, 1, 1, 1)) == ()
    assert traces.of(None) == ()


def test_records_of_one_context_are_linked_once() -> None:
    traces = Traces()
    traces.note([replace(traced(0), offset=offset) for offset in (4, 5, 6)])
    assert traces.of(Evidence(0, 4, 6, 3)) == (_context(0),)


def test_to_note_a_record_takes_no_longer_when_many_are_kept() -> None:
    """The best of several runs; to look through all of 50,000 takes a hundred times as long."""
    traces = Traces()
    traces.note([traced(offset) for offset in range(60_000)])
    offsets = iter(range(60_000, 70_000))
    assert min(timeit.repeat(lambda: traces.note([traced(next(offsets))]), number=20, repeat=9)) / 20 < 1e-4


def test_only_the_newest_are_kept() -> None:
    traces = Traces(kept=2)
    traces.note([traced(offset) for offset in range(5)])
    traces.note([traced(5)])
    assert traces.of(Evidence(0, 3, 5, 1)) == (_context(5),)
    assert traces.of(Evidence(0, 4, 5, 1)) == (_context(5), _context(4))
