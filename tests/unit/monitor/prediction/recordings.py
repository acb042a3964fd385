"""Made-up series with a rhythm, a day and noise, for the tests of the predictor."""

from __future__ import annotations

import numpy as np

STEP = 300.0
HORIZON = 1_800.0


def day_and_noise(seed: int, length: int, *, step: float = STEP) -> tuple[np.ndarray, np.ndarray]:
    """Times (jittered by a few seconds) and values beyond a threshold, breaching about 5 % of the time."""
    random = np.random.default_rng(seed)
    time = 1.7e9 + np.arange(length) * step + random.uniform(0, 4, length)
    value = np.sin(2 * np.pi * time / 86_400) + 0.4 * random.standard_normal(length)
    value[:: int(5_400 / step)] += 1.0
    return time, value - float(np.quantile(value, 0.95))


def clockwork(length: int, *, every: float = 3_600.0, step: float = STEP) -> tuple[np.ndarray, np.ndarray]:
    """Quiet but for one breaching sample an hour."""
    time = 1.7e9 + np.arange(length) * step
    breaching = np.arange(length) % int(every / step) == 5
    return time, np.where(breaching, 3.0, -1.0 + 0.05 * np.sin(np.arange(length)))
