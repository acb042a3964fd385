"""A fetch of plain batches is read as it would be record by record."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.monitor.domain.engine.intake import Intake, Taken
from services.monitor.domain.engine.series import Series
from tests.unit.monitor.engine_log import T0, rule

APPEND_MS = (T0 + 10) * 1_000


class _Record(NamedTuple):
    offset: int
    timestamp: int
    value: bytes


TIMES = st.sampled_from([None, T0, T0 + 0.5, "2026-01-01T00:00:01Z", T0 + 100, -1.0])
ITEMS = st.fixed_dictionaries(
    {"metric": st.sampled_from(["m", "n", "unwatched"]), "value": st.sampled_from([1, 2.5, -3.0])},
    optional={
        "time": TIMES,
        "component": st.sampled_from(["b", "not allowed"]),
        "labels": st.just({"zone": "east"}),
        "unknown": st.just(1),
    },
)
PLAIN = st.fixed_dictionaries(
    {"metric": st.sampled_from(["m", "n", "unwatched"]), "value": st.sampled_from([1, 2.5])},
    optional={"time": st.sampled_from([T0, T0 + 0.5, T0 + 100])},
)
BATCHES = st.fixed_dictionaries(
    {"samples": st.lists(PLAIN, max_size=4) | st.lists(ITEMS, max_size=4)},
    optional={
        "component": st.sampled_from(["a", "a", "b", "not allowed"]),
        "time": st.sampled_from([T0 + 1, T0 + 2.5, "2026-01-01T00:00:03Z"]),
        "labels": st.just({"zone": "west"}),
    },
)


def _records(batches: list[dict[str, Any]]) -> list[_Record]:
    # One offset is left out, as compaction or a transaction's marker does it.
    return [
        _Record(number + (number > 1), APPEND_MS + number, msgspec.json.encode(batch))
        for number, batch in enumerate(batches)
    ]


def _told(taken: Taken, records: int) -> tuple[object, ...]:
    columns = taken.columns
    return (
        columns.offset.tolist(),
        columns.record_time[:records].tolist(),
        columns.series.tolist(),
        columns.time.tolist(),
        columns.value.tolist(),
        [entry for entry in taken.unread if entry[0] < records],
    )


def _intake(*, by_labels: bool) -> Intake:
    matchers = ("zone=west",) if by_labels else ()
    return Intake(Series([rule("one", metric="m"), rule("two", metric="n", matchers=matchers)]))


@settings(max_examples=300, deadline=None)
@given(st.lists(BATCHES, min_size=1, max_size=4), st.booleans())
def test_as_record_by_record(batches: list[dict[str, Any]], by_labels: bool) -> None:
    records = _records(batches)
    # A clock record is no batch: the whole fetch is then read record by record.
    clock = _Record(1_000, APPEND_MS, msgspec.json.encode({"clock": T0}))
    each = _intake(by_labels=by_labels).read([*records, clock])
    assert _told(_intake(by_labels=by_labels).read(records), len(records)) == _told(each, len(records))


def test_plain_batches_go_the_short_way() -> None:
    batch = {
        "component": "a",
        "time": T0,
        "samples": [{"metric": "m", "value": 1}, {"metric": "n", "value": 2}],
    }
    intake = _intake(by_labels=False)
    records = _records([batch, batch])
    found = intake._read_batches(records, [record.value for record in records])
    assert found is not None
    np.testing.assert_array_equal(found.columns.value, [1.0, 2.0, 1.0, 2.0])
