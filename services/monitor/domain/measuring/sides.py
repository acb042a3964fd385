"""On which side of a threshold values are, and how that is told without them.

A phase takes no value, only its side. Over a long block that is found by counting the samples of each
window above and below the threshold, or by sums whose error is bounded; what this leaves open is
worked out exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.measuring.series_block import SeriesBlock, Steps
from services.monitor.domain.measuring.windows import Flags, Floats, Ints

Sides = NDArray[np.int8]
BELOW, EQUAL, ABOVE, OPEN = 0, 1, 2, 3
"""``OPEN`` is the greatest."""


def sides_of(values: Floats, threshold: float) -> Sides:
    """NaN is on none: it counts as equal."""
    sides: Sides = np.full(len(values), EQUAL, dtype=np.int8)
    sides[values > threshold] = ABOVE
    sides[values < threshold] = BELOW
    return sides


def accepted(condition: Condition, sides: Sides) -> Flags:
    """Which sides satisfy the condition; one that is open does not."""
    above, equal, below = condition.accepts
    return np.array([below, equal, above, False])[sides]


def sides_within(above: Floats, error: Floats | float) -> Sides:
    """Of values that are about so far above the threshold: open where that is within the error."""
    sides: Sides = np.full(len(above), OPEN, dtype=np.int8)
    sides[above > error] = ABOVE
    sides[above < -error] = BELOW
    return sides


def sides_between_ranks(
    block: SeriesBlock, steps: Steps, threshold: float, lower: Ints, upper: Ints
) -> Sides:
    """Of values between the samples of rank ``lower`` and ``upper`` (from 0) of each window: above where the
    lower one is, and not above where the upper one is not."""
    more = _counted_before(block.value > threshold)
    less = _counted_before(block.value < threshold)
    count = steps.count
    not_above = count - (more[steps.high] - more[steps.low])
    below = less[steps.high] - less[steps.low]
    sides: Sides = np.full(len(count), OPEN, dtype=np.int8)
    sides[(upper < not_above) & (lower >= below)] = EQUAL
    sides[lower >= not_above] = ABOVE
    sides[upper < below] = BELOW
    return sides


def running_sums(values: Floats) -> Floats:
    """The sum of the values before each place, and of all."""
    upto: Floats = np.zeros(len(values) + 1)
    np.cumsum(values, out=upto[1:])
    return upto


def _counted_before(flags: Flags) -> Ints:
    """How many flags are set before each place, and of all."""
    upto: Ints = np.zeros(len(flags) + 1, dtype=np.int64)
    np.cumsum(flags, out=upto[1:])
    return upto
