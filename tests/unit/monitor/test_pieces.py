"""A fetch that is read piece by piece gives what reading it at once does."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.monitor.domain.engine import intake
from services.monitor.domain.engine.intake import Intake, Taken
from services.monitor.domain.engine.series import Series
from tests.unit.monitor.engine_log import T0, rule

SAMPLE = b'{"metric":"m","component":"c%d","value":1,"time":%d}'
RECORDS = st.sampled_from(
    [
        SAMPLE % (1, T0),
        SAMPLE % (2, T0 + 1),
        SAMPLE % (1, T0 + 500),
        b'{"samples":[%s,5]}' % (SAMPLE % (3, T0)),
        b'{"component":"c1","samples":[{"metric":"m","value":2,"time":%d},{"metric":"x","value":3,"time":%d}]}'
        % (T0, T0 + 2),
        b'{"clock":%d}' % (T0 + 3),
        b'{"release":{"component":"c1","time":%d}}' % T0,
        b'{"release":{"component":"c1","time":%d}}' % (T0 + 500),
        b"not a record",
        None,
    ]
)


class Fetched(NamedTuple):
    offset: int
    timestamp: int
    value: bytes | None


def _read(records: list[Fetched], *, fewest: int, piece: int) -> Taken:
    with patch.multiple(intake, _FEWEST=fewest, _PIECE_BYTES=piece):
        return Intake(Series([rule()])).read(records)


@settings(deadline=None)
@given(st.lists(RECORDS, max_size=40), st.integers(1, 7))
def test_pieces_make_no_difference(values: list[bytes | None], together: int) -> None:
    records = [Fetched(3 * index, (T0 + 5) * 1_000, value) for index, value in enumerate(values)]
    whole = _read(records, fewest=len(records) + 1, piece=1)
    pieces = _read(records, fewest=together, piece=1)
    assert pieces.unread == whole.unread
    for each in dataclasses.fields(whole.columns):
        found, wanted = getattr(pieces.columns, each.name), getattr(whole.columns, each.name)
        if each.name == "releases":
            assert found == wanted
        else:
            assert found.dtype == wanted.dtype
            assert np.array_equal(found, wanted)
