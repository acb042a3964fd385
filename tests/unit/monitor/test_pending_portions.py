"""Pending samples are taken out in the order in which they count, whatever the portions they came in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.domain.measuring.columns import Pending, PendingPortions

Came = list[tuple[int, list[int]]]
"""At each turn: how far evaluation is, and the seconds that first count the samples that come."""


def _samples(first: list[int], offset: int) -> Pending:
    seconds = np.array(first, dtype=np.int64)
    nothing = np.zeros(len(first))
    offsets = np.arange(offset, offset + len(first))
    return Pending(np.zeros(len(first), dtype=np.int64), seconds, seconds, nothing, nothing, offsets)


def _pairs(samples: Pending) -> list[tuple[int, int]]:
    return list(zip(samples.first.tolist(), samples.offset.tolist(), strict=True))


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(1, 6), max_size=5)), max_size=12))
def test_each_second_counts_its_samples_once_and_in_the_order_of_the_log(came: Came) -> None:
    portions, waiting = PendingPortions(), list[tuple[int, int]]()
    through = offset = 0
    for passed, ahead in came:
        first = [through + each for each in ahead]
        portions.add(_samples(first, offset))
        waiting += [(second, offset + index) for index, second in enumerate(first)]
        offset += len(first)
        through += passed
        taken = portions.take(through)
        due = int(np.searchsorted(taken.first, through, side="right"))
        counted = _pairs(taken.take(slice(0, due)))
        portions.put_back(taken.take(slice(due, None)))
        assert counted == sorted(pair for pair in waiting if pair[0] <= through)
        waiting = [pair for pair in waiting if pair[0] > through]
    assert _pairs(portions.take(through + 10)) == sorted(waiting)


def test_what_counts_later_is_left_where_it_is() -> None:
    portions = PendingPortions()
    for second in range(1, 100):
        portions.add(_samples([second, second], 2 * second))
    assert _pairs(portions.take(1)) == [(1, 2), (1, 3)]
    assert len(portions.take(2)) == 2
