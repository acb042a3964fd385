"""Runs of consecutive numbers, in columns."""

from __future__ import annotations

import numpy as np

from services.monitor.domain.measuring.windows import Ints


def ranges(start: Ints, count: Ints) -> Ints:
    """start[0], start[0] + 1, … (``count[0]`` of them), start[1], …"""
    upto: Ints = count.cumsum()
    return (start - (upto - count)).repeat(count) + np.arange(int(upto[-1]) if len(upto) else 0)
