"""What an aggregate was at given seconds of the past, for many rows at once.

Worked out by the operations of the banks, from samples that were kept one by one: what comes of
it depends neither on the portions in which they came nor on restarts.
"""

from __future__ import annotations

import numpy as np

from services.monitor.domain.language.aggregates import Aggregate
from services.monitor.domain.measuring.cells import SPAN
from services.monitor.domain.measuring.lanes import Lanes
from services.monitor.domain.measuring.measures import OwnBank
from services.monitor.domain.measuring.registry import REGISTRY
from services.monitor.domain.measuring.windows import Floats, Ints, Visible


def values_at(aggregate: Aggregate, window: int, samples: Visible, seconds: Ints) -> Floats:
    """The aggregate over the ``window`` seconds up to each of ``seconds``, [rows, n]; NaN without data.

    ``samples`` are of these rows, in the order of their offsets within a row and second. Raises ValueError
    for an aggregate that is relative.
    """
    measure = REGISTRY[aggregate]
    if isinstance(measure, OwnBank):
        return measure.values_at(window, samples, seconds)
    lanes = Lanes()
    lanes.look_back(window)
    for _ in seconds:
        lanes.add()
    lanes.restore(samples, int(samples.second.max(initial=0)))
    held = lanes.held
    lane = np.arange(len(seconds))[:, None] * SPAN
    low = np.searchsorted(held.cells.key, lane + seconds - window, side="right")
    high = np.searchsorted(held.cells.key, lane + seconds, side="right")
    values = np.full(seconds.shape, np.nan)
    some = high > low
    if some.any():
        values[some] = measure.exact(held, low[some], high[some])
    return values
