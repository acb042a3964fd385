"""Reading the metrics topic: strict where it would have to guess, and nothing is lost."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from schemas.metrics import (
    MAX_RECORD_BYTES,
    Release,
    Sample,
    decode_sample,
    encode_clock,
    encode_release,
    epoch_seconds,
    read_record,
)
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake
from tests.unit.monitor.engine_log import rule

GOOD: dict[str, Any] = {"metric": "m", "component": "c", "value": 1.5, "time": 1767225600}


def _value(**changes: Any) -> bytes:
    fields = {**GOOD, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def test_a_sample_in_either_form_of_time() -> None:
    seconds = [
        epoch_seconds(decode_sample(_value(time=time)).time)
        for time in (1767225600, 1767225600.0, "2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00")
    ]
    assert seconds == [1767225600.0] * 4


def test_unknown_fields_are_accepted() -> None:
    record = read_record(_value(unit="ms", nested={"a": [1]}, labels={"host": "a"}))
    assert record.unread == ()
    assert record.samples[0].labels == {"host": "a"}


@pytest.mark.parametrize(
    ("value", "reason", "words"),
    [
        (None, "empty", "no value"),
        (b"", "empty", "empty"),
        (b'{"metric":"\xff\xfe","component":"c","value":1,"time":1}', "invalid_utf8", "UTF-8"),
        (b'{"metric":"m","component":"c"', "invalid_json", "truncated"),
        (b'{"metric":"m","component":"c","value":NaN,"time":1}', "invalid_json", "malformed"),
        (b'{"metric":"m","component":"c","value":1e999,"time":1}', "invalid_sample", "$.value"),
        (b'{"metric":"m","component":"c","value":-Infinity,"time":1}', "invalid_json", "malformed"),
        (b"[1, 2]", "invalid_sample", "object"),
        (b"5", "invalid_sample", "object"),
        (_value(value="1"), "invalid_sample", "$.value"),
        (_value(value=True), "invalid_sample", "$.value"),
        (_value(value=None), "invalid_sample", "$.value"),
        (_value(metric=5), "invalid_sample", "$.metric"),
        (_value(metric=""), "invalid_sample", "$.metric"),
        (_value(metric=...), "invalid_sample", "`metric`"),
        (_value(component=...), "invalid_sample", "`component`"),
        (_value(value=...), "invalid_sample", "`value`"),
        (_value(time=...), "invalid_sample", "`time`"),
        (_value(component="a/b"), "invalid_sample", "component 'a/b'"),
        (_value(component="c\n"), "invalid_sample", "component"),
        (_value(labels=[1]), "invalid_sample", "$.labels"),
        (_value(labels={"a": 1}), "invalid_sample", "$.labels"),
        (_value(time=-1), "invalid_time", "$.time"),
        (_value(time=1767225600000), "invalid_time", "is it in seconds?"),
        (_value(time="2026-01-01T00:00:00"), "invalid_time", "$.time"),
        (_value(time="yesterday"), "invalid_time", "$.time"),
        (_value(time="1969-12-31T23:59:59Z"), "invalid_time", "1970"),
        (b'{"x":' * 10_000 + b"1" + b"}" * 10_000, "too_deep", "nested"),
        (b"[" * 10_000 + b"]" * 10_000, "invalid_sample", "object"),
        (b'{"samples":5}', "invalid_batch", "$.samples"),
        (b'{"samples":[{"metric":"m","value":1,"time":1}],"component":5}', "invalid_batch", "$.component"),
        (b'{"samples":[{"metric":"m","value":1,"component":"c"}],"time":-5}', "invalid_time", "$.time"),
        (b'{"samples":[{"metric":"m","value":1,"component":"c","time":1}', "invalid_json", "truncated"),
        (b'{"samples":[{"metric":"m"},5],"labels":{}', "invalid_json", "truncated"),
        (b'{"clock":"soon"}', "invalid_sample", "$.clock"),
        (b'{"release":{"component":"a"}}', "invalid_release", "time"),
        (b'{"release":{"component":"a b","time":1}}', "invalid_release", "component 'a b'"),
        (b'{"release":{"component":"a","time":"soon"}}', "invalid_time", "$.release.time"),
        (b'{"release":{"component":"a","time":-1}}', "invalid_time", "$.release.time"),
        (b'{"release":"a"}', "invalid_release", "$.release"),
        (b" " * (MAX_RECORD_BYTES + 1), "too_large", "bytes"),
    ],
)
def test_what_cannot_be_read_says_why(value: bytes | None, reason: str, words: str) -> None:
    record = read_record(value)
    assert record.samples == ()
    assert record.clock is None
    (unread,) = record.unread
    assert unread.reason == reason
    assert words in unread.error


def test_a_batch_gives_its_defaults_to_each_sample() -> None:
    record = read_record(
        json.dumps(
            {
                "component": "c",
                "time": 10,
                "labels": {"host": "a", "zone": "z"},
                "samples": [
                    {"metric": "m", "value": 1},
                    {"metric": "n", "value": 2, "component": "d", "time": 11, "labels": {"host": "b"}},
                ],
            }
        ).encode()
    )
    assert record.unread == ()
    assert record.samples == (
        Sample("m", "c", 1.0, 10.0, {"host": "a", "zone": "z"}),
        Sample("n", "d", 2.0, 11.0, {"host": "b", "zone": "z"}),
    )


def test_the_good_samples_of_a_mixed_batch_count_and_the_bad_ones_are_named() -> None:
    samples = [
        GOOD,
        {**GOOD, "value": "x"},
        {"metric": "m", "value": 3},
        {**GOOD, "time": -5},
        {**GOOD, "component": "a b"},
        7,
        {**GOOD, "value": 4},
    ]
    record = read_record(json.dumps({"samples": samples}).encode())
    assert [sample.value for sample in record.samples] == [1.5, 4.0]
    assert record.items == (0, 6)
    assert sorted((unread.item or -1, unread.reason) for unread in record.unread) == [
        (1, "invalid_sample"),
        (2, "invalid_sample"),
        (3, "invalid_time"),
        (4, "invalid_sample"),
        (5, "invalid_sample"),
    ]


def test_a_release_is_read_back() -> None:
    release = Release("api", 1767225600.25, "2.0")
    assert read_record(encode_release(release)).release == release
    read = read_record(b'{"release":{"component":"api","time":"2026-01-01T00:00:00Z","by":"ci"}}').release
    assert read is not None
    assert (epoch_seconds(read.time), read.version) == (1767225600.0, None)


def test_a_clock_record_is_read_back() -> None:
    assert read_record(encode_clock(1767225600.25)).clock == 1767225600.25


def test_an_empty_batch_is_readable_and_holds_nothing() -> None:
    record = read_record(b'{"samples":[]}')
    assert (record.samples, record.unread, record.clock) == ((), (), None)


@pytest.mark.parametrize(
    "bad",
    [
        b'{"metric":"m","component":"c","value":NaN,"time":1}',
        b'{"metric":"m","component":"c","value":1e999,"time":1}',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"note":"] , } \\"", "metric":5}',
        b"",
        b"nonsense",
    ],
)
def test_an_unreadable_item_takes_no_good_one_along(bad: bytes) -> None:
    good = _value()
    record = read_record(b' {"samples" : [' + good + b" , " + bad + b",\n" + good + b'], "note": "a,]}"} ')
    assert [(sample.value, item) for sample, item in zip(record.samples, record.items, strict=True)] == [
        (1.5, 0),
        (1.5, 2),
    ]
    assert [unread.item for unread in record.unread] == [1]


@pytest.mark.parametrize("default", [b'"component":5', b'"time":NaN', b'"time":"soon"', b'"x":Infinity'])
def test_a_default_that_nobody_needs_may_be_wrong(default: bytes) -> None:
    record = read_record(b'{"samples":[' + _value() + b"]," + default + b"}")
    assert (len(record.samples), record.unread) == (1, ())


def test_a_wrong_default_fails_only_those_that_need_it() -> None:
    items = _value(), _value(component=...), _value(time=...)
    record = read_record(b'{"component":7,"time":2,"samples":[' + b",".join(items) + b"]}")
    assert [sample.time for sample in record.samples] == [1767225600.0, 2.0]
    assert [(unread.item, unread.reason) for unread in record.unread] == [(1, "invalid_batch")]
    record = read_record(b'{"labels":7,"samples":[' + b",".join(items[:1]) + b"]}")
    assert [(unread.item, unread.reason) for unread in record.unread] == [(0, "invalid_batch")]


@dataclass(frozen=True)
class Stored:
    value: bytes | None
    offset: int = 0
    timestamp: int = 1_767_225_600_000


@pytest.mark.parametrize(
    "value",
    [
        _value(),
        _value(samples=30),
        _value(clock="x"),
        _value(samples=[{"metric": "n", "value": 2}]),
        _value(note="x" * MAX_RECORD_BYTES),
        _value(component="a/b"),
        b'{"samples":[%s,5]}' % _value(),
        encode_clock(1767225600.0),
        None,
    ],
    ids=lambda value: repr(value)[:40],
)
def test_the_live_service_and_a_file_read_the_same(value: bytes | None) -> None:
    read = read_record(value)
    for records in ([Stored(value)], [Stored(_value()), Stored(value), Stored(b"{")]):
        engine = PartitionEngine([rule()], allowed_lateness=0.0)
        taken = Intake(engine.series).read(records)
        at = records.index(Stored(value))
        count = int((taken.columns.record == at).sum())
        assert (count, [unread for index, unread in taken.unread if index == at]) == (
            len(read.samples),
            list(read.unread),
        )


def test_cutting_a_large_record_takes_no_longer_than_its_length() -> None:
    """Each of these is read to its end once, not from each of its quotation marks."""
    for value in (
        b'{"a":"' + b'\\"' * 1_000_000,
        b'{"samples":[' + b"[" * 2_000_000,
        b'{"' + b"," * 2_000_000,
    ):
        began = time.process_time()
        assert read_record(value).samples == ()
        assert time.process_time() - began < 5.0
