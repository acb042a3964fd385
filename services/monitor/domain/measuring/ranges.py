"""Runs of consecutive numbers, in columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.measuring.windows import Ints


def ranges(start: Ints, count: Ints) -> Ints:
    """start[0], start[0] + 1, … (``count[0]`` of them), start[1], …"""
    upto: Ints = count.cumsum()
    return (start - (upto - count)).repeat(count) + np.arange(int(upto[-1]) if len(upto) else 0)


def places_of(rows: Ints, column: NDArray[np.int32]) -> tuple[Ints, Ints]:
    """Where some rows are in a column that is in order: which of ``rows`` each entry is of, and its place."""
    wanted = rows.astype(np.int32)
    low = np.searchsorted(column, wanted, side="left")
    count = np.searchsorted(column, wanted, side="right") - low
    return np.repeat(np.arange(len(rows)), count), ranges(low, count)
