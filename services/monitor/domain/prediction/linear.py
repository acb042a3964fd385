"""Prometheus' `predict_linear`, the peer that a user would otherwise write a rule with."""

from __future__ import annotations

import numpy as np

from services.monitor.domain.prediction.scoring import Floats


def predict_linear(time: Floats, value: Floats, threshold: float, *, window: float, horizon: float) -> Floats:
    """1.0 where ``predict_linear(series[window], horizon) > threshold``, else 0.0, at each sample.

    A least-squares line through the samples in (t - window, t], extended by ``horizon`` seconds
    from t (Prometheus' documentation of `predict_linear`). With fewer than two samples it says
    nothing, which is 0.0 here. Times and spans in seconds.
    """
    said = np.zeros(len(time), dtype=np.float64)
    since = np.searchsorted(time, time - window, side="right")
    for index, first in enumerate(since):
        if index - first < 1:
            continue
        x = time[first : index + 1] - time[index]
        y = value[first : index + 1]
        spread = x - x.mean()
        slope = float(spread @ (y - y.mean())) / float(spread @ spread)
        ahead = float(y.mean()) + slope * (horizon - float(x.mean()))
        said[index] = float(ahead > threshold)
    return said
