"""Values stay where they are found, whatever is appended after them and forgotten before them."""

from __future__ import annotations

from collections import deque

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.domain.measuring.kept_values import KeptValues


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 3)), max_size=60))
def test_every_run_that_is_not_forgotten_is_found(steps: list[tuple[int, int]]) -> None:
    """Each step appends a run of a length and forgets so many of the oldest ones."""
    subject = KeptValues()
    runs: deque[tuple[int, list[float]]] = deque()
    value = 0
    for length, forgotten in steps:
        run = [float(value + index) for index in range(length)]
        value += length
        runs.append((subject.add(np.array(run)), run))
        for _ in range(min(forgotten, len(runs) - 1)):
            runs.popleft()
        subject.forget_before(runs[0][0])
        places = np.array([place for place, _ in runs])
        counts = np.array([len(run) for _, run in runs])
        assert subject.runs(places, counts).tolist() == [each for _, run in runs for each in run]


def test_memory_is_bounded_by_what_is_held() -> None:
    subject = KeptValues()
    places = [subject.add(np.zeros(1_000)) for _ in range(10)]
    for _ in range(1_000):
        places.append(subject.add(np.zeros(1_000)))
        subject.forget_before(places[-10])
    assert len(subject._held) <= 4 * 11_000
    subject.forget_before(places[-1])
    for _ in range(30):
        subject.forget_before(subject.add(np.zeros(1_000)))
    assert len(subject._held) <= 8 * 2_000
