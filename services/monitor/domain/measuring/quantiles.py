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

_CELLS = 2_000_000
"""Sort no more values than this at once: 16 MB."""
_WINDOWS = 1_024


def quantiles_of(values: Floats, low: Ints, high: Ints, quantile: float) -> Floats:
    """The quantile of each window ``values[low:high]``; NaN where it is empty. ``low`` and ``high``
    are flat."""
    count = high - low
    if len(low) == 1 and count[0]:
        return _of_one(np.sort(values[low[0] : high[0]]), quantile)
    result = np.full(len(low), np.nan)
    (some,) = np.nonzero(count)
    at = 0
    while at < len(some):
        # As many windows as fit, each as wide as the widest of the next ones.
        wide = int(count[some[at : at + _WINDOWS]].max())
        chunk = some[at : at + max(1, min(_WINDOWS, _CELLS // wide))]
        result[chunk] = _of_windows(values, low[chunk], count[chunk], quantile)
        at += len(chunk)
    return result


def _of_windows(values: Floats, low: Ints, count: Ints, quantile: float) -> Floats:
    across = np.arange(int(count.max()))
    taken = np.minimum(low[:, None] + across, len(values) - 1)
    ordered = np.where(across < count[:, None], values[taken], np.inf)
    ordered.sort(axis=1)
    rank = (count - 1) * quantile
    below = np.floor(rank).astype(np.int64)
    above = np.minimum(below + 1, count - 1)
    each = np.arange(len(count))
    lower, upper = ordered[each, below], ordered[each, above]
    with np.errstate(over="ignore", invalid="ignore"):
        found: Floats = lower + (upper - lower) * (rank - below)
    return found


def _of_one(ordered: Floats, quantile: float) -> Floats:
    rank = (len(ordered) - 1) * quantile
    below = math.floor(rank)
    lower, upper = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array([lower + (upper - lower) * (rank - below)])


def quantile_of(values: Sequence[float], quantile: float) -> float:
    """The quantile of the values, of which there is at least one, in any order."""
    rank = (len(values) - 1) * quantile
    below = math.floor(rank)
    ordered = sorted(values)
    lower, upper = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    return lower + (upper - lower) * (rank - below)
