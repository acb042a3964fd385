"""What becomes of one line given to ``backout metrics publish``."""

from __future__ import annotations

import json

import pytest

from cli.metrics import records_of
from schemas.metrics import read_record

TIME = 1767225600


def line(**fields: object) -> bytes:
    """A JSON line with these fields."""
    return json.dumps(fields).encode()


def test_a_sample_goes_out_as_it_stands_under_its_component() -> None:
    text = line(metric="m", component="cache", value=1, time=TIME, extra="kept")
    assert records_of(text) == ([("cache", text)], 1, [])


def test_a_batch_of_one_component_stays_one_record() -> None:
    text = line(component="cache", time=TIME, samples=[{"metric": "m", "value": 1}] * 3)
    assert records_of(text) == ([("cache", text)], 3, [])


def test_a_batch_of_several_components_is_parted_and_loses_nothing() -> None:
    samples = [
        {"metric": "m", "value": number, "component": component, "labels": {"n": str(number)}}
        for number, component in enumerate(("a", "b", "a"))
    ]
    records, count, problems = records_of(line(time=TIME, labels={"all": "x"}, samples=samples))

    assert (count, problems) == (3, [])
    assert [component for component, _ in records] == ["a", "b"]
    read = [sample for _, value in records for sample in read_record(value).samples]
    assert sorted((s.component, s.value, (s.labels or {})["n"], (s.labels or {})["all"]) for s in read) == [
        ("a", 0.0, "0", "x"),
        ("a", 2.0, "2", "x"),
        ("b", 1.0, "1", "x"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"nonsense", "JSON"),
        (b"\xff\xfe", "JSON"),
        (line(metric="m", component="c", value="1", time=TIME), "value"),
        (line(metric="m", component="c", value=1), "time"),
        (line(samples=[], time=TIME), "without samples"),
        (line(clock=TIME), "only the monitor"),
        (line(component="c", time=TIME, samples=[{"metric": "m", "value": 1}, {"metric": "m"}]), "sample 1"),
        (b'{"metric": "' + b"x" * 1_100_000 + b'"}', "part the batch"),
    ],
)
def test_a_line_that_is_no_sample_is_not_published(text: bytes, words: str) -> None:
    records, count, problems = records_of(text)
    assert (records, count) == ([], 0)
    assert words in " ".join(problems)


def test_a_release_goes_out_under_its_component() -> None:
    text = line(release={"component": "cache", "time": TIME, "version": "2"})
    assert records_of(text) == ([("cache", text)], 0, [])
