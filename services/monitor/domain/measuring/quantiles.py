"""Quantiles, interpolated between the two nearest ranks, as Prometheus and numpy do.

For a rank r = (n - 1) q (from 0) of n ordered values, the value is v[⌊r⌋] + (v[⌊r⌋ + 1] - v[⌊r⌋]) (r - ⌊r⌋).
Live windows, swept ones and a single one are worked out by the same operations in the same
order, so that they agree to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from services.monitor.domain.measuring.windows import Floats, Ints

_WIDE = 300
"""Windows of so many values are looked through one by one; narrower ones are sorted together."""
_FEW = 3
"""So few windows are looked through one by one, too."""
_WINDOWS = 1_024
"""Sort no more windows than this at once: 2 MB."""


def quantiles_of(values: Floats, low: Ints, high: Ints, quantile: float) -> Floats:
    """The quantile of each window ``values[low:high]``; NaN where it is empty. ``low`` and ``high``
    are flat."""
    count = high - low
    result = np.full(len(low), np.nan)
    is_wide = (count >= _WIDE) | ((count > 0) & (len(count) <= _FEW))
    for window in np.flatnonzero(is_wide).tolist():
        result[window] = _of_one(values[low[window] : high[window]], quantile)
    (some,) = np.nonzero((count > 0) & ~is_wide)
    for at in range(0, len(some), _WINDOWS):
        chunk = some[at : at + _WINDOWS]
        result[chunk] = _of_windows(values, low[chunk], count[chunk], quantile)
    return result


def _of_windows(values: Floats, low: Ints, count: Ints, quantile: float) -> Floats:
    across = np.arange(int(count.max()))
    ordered = values.take(low[:, None] + across, mode="clip")
    if (count < len(across)).any():
        ordered[across >= count[:, None]] = np.inf
    ordered.sort(axis=1)
    rank = (count - 1) * quantile
    below = np.floor(rank).astype(np.int64)
    above = np.minimum(below + 1, count - 1)
    each = np.arange(len(count))
    lower, upper = ordered[each, below], ordered[each, above]
    with np.errstate(over="ignore", invalid="ignore"):
        found: Floats = lower + (upper - lower) * (rank - below)
    return found


def _of_one(values: Floats, quantile: float) -> float:
    """Of many values only the two of the nearest ranks are put in their places."""
    rank = (len(values) - 1) * quantile
    below = math.floor(rank)
    above = min(below + 1, len(values) - 1)
    lower, upper = np.partition(values, (below, above))[[below, above]].tolist()
    found: float = lower + (upper - lower) * (rank - below)
    return found


def quantile_of(values: Sequence[float], quantile: float) -> float:
    """The quantile of the values, of which there is at least one, in any order."""
    rank = (len(values) - 1) * quantile
    below = math.floor(rank)
    ordered = sorted(values)
    lower, upper = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    return lower + (upper - lower) * (rank - below)
