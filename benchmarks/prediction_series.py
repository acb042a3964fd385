"""Generated series of many kinds: what the predictions' prior is trained on.

Each is a sum of things that metrics of real services show: noise of any memory and tail, days and
weeks, level shifts, trends, hourly shapes, changing volatility, and spikes that come by the clock,
after a rest, in bursts, in patterns or at random, for a while or always. Nothing is taken from a
recorded series, so any recorded series is an unseen one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Random = np.random.Generator

DAY_S, HOUR_S = 86_400.0, 3_600.0
_QUANTILES = (0.95, 0.95, 0.95, 0.9, 0.97, 0.985)
_SHARES = (0.004, 0.2)
"""A threshold that is exceeded more rarely, or more often, teaches little."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Times in seconds, one row a series, and how far each value is beyond its threshold."""

    time: Array
    excess: Array


def generate(seed: int, count: int, length: int, steps: tuple[float, ...]) -> Generated:
    """``count`` series of ``length`` samples, each with one of the ``steps`` (seconds)."""
    random = np.random.default_rng(seed)
    time, excess = np.empty((count, length)), np.empty((count, length))
    for row in range(count):
        time[row], excess[row] = _series(random, length, float(random.choice(steps)))
    return Generated(time, excess)


def _series(random: Random, length: int, step: float) -> tuple[Array, Array]:
    while True:
        time = random.uniform(0, 7 * DAY_S) + np.arange(length, dtype=np.float64) * step
        value = _value(random, time, step)
        threshold = float(np.quantile(value, random.choice(_QUANTILES)))
        share = float((value > threshold).mean())
        if np.isfinite(value).all() and _SHARES[0] < share < _SHARES[1]:
            return time, value - threshold


def _value(random: Random, time: Array, step: float) -> Array:
    value = _noise(random, len(time))
    if random.random() < 0.45:
        value = _days(random, time, value)
    if random.random() < 0.45:
        value = _shifts(random, value)
    if random.random() < 0.2:
        value = value + np.cumsum(random.standard_normal(len(time))) * random.uniform(0.005, 0.05)
    if random.random() < 0.25:
        value = value + _hours(random, time)
    if random.random() < 0.15:
        value = value.mean() + (value - value.mean()) * np.exp(_regimes(random, len(time), 0.7))
    for _ in range(random.choice([0, 1, 1, 2, 3])):
        value = _spikes(random, time, step, value)
    if random.random() < 0.25:
        value = np.exp(np.clip(value / 2, -6, 6))
    if random.random() < 0.25:
        grain = max(float(np.std(value)) * random.choice([0.1, 0.3, 0.6]), 1e-9)
        value = np.round(value / grain) * grain
    return value * 10 ** random.uniform(-3, 6)


def _noise(random: Random, length: int) -> Array:
    memory = random.choice(
        [0, random.uniform(0, 0.6), random.uniform(0.6, 0.98), random.uniform(0.98, 0.999)]
    )
    shocks = random.standard_normal(length)
    if random.random() < 0.4:
        shocks = random.standard_t(random.uniform(2.2, 6), length) / 1.3
    if random.random() < 0.25:
        shocks = np.abs(shocks) ** random.uniform(1, 2)
    shocks = shocks * np.sqrt(1 - memory * memory)
    noise = np.empty(length)
    now = 0.0
    for index, shock in enumerate(shocks.tolist()):
        now = memory * now + shock
        noise[index] = now
    noise *= random.choice([0.05, 0.3, 1, 1])
    if random.random() < 0.4:
        noise += random.standard_normal(length) * random.uniform(0.1, 1)
    return noise


def _days(random: Random, time: Array, value: Array) -> Array:
    angle = 2 * np.pi * time / DAY_S
    wave = np.sin(angle + random.uniform(0, 2 * np.pi))
    if random.random() < 0.5:
        wave = wave + 0.5 * np.sin(2 * angle + random.uniform(0, 2 * np.pi))
    value = value + wave * random.uniform(0.3, 4) * random.choice([0.3, 1, 1])
    if random.random() < 0.3:
        value = value * np.where((time // DAY_S) % 7 >= 5, random.uniform(0.3, 0.9), 1)
    return value


def _hours(random: Random, time: Array) -> Array:
    shape = random.standard_normal(12) * random.uniform(0.2, 1.2)
    if random.random() < 0.5:
        shape = shape * (random.random(12) < 0.3) * 2
    hours: Array = shape[((time % HOUR_S) // 300).astype(np.int64)]
    return hours


def _shifts(random: Random, value: Array) -> Array:
    value = value + _regimes(random, len(value), random.uniform(0.5, 4))
    if random.random() < 0.4:
        value = value * np.exp(_regimes(random, len(value), 0.6))
    return value


def _regimes(random: Random, length: int, scale: float) -> Array:
    count = int(random.integers(1, 7))
    changes = np.sort(random.integers(0, length, count))
    levels = random.standard_normal(count + 1) * scale
    return levels[np.searchsorted(changes, np.arange(length), side="right")]


def _spikes(random: Random, time: Array, step: float, value: Array) -> Array:
    value = value.copy()
    active = np.ones(len(time), dtype=np.bool_)
    if random.random() < 0.4:
        active = _regimes(random, len(time), 1.0) > -0.1
    height = random.choice([random.uniform(0.5, 2.5), random.uniform(2, 10)])
    uneven = random.choice([0.0, 0.1, 0.4])
    shape = _shape(random)
    fixed = random.random() < 0.7
    when = _KINDS[int(random.integers(len(_KINDS)))](random, time, step)
    when = when[random.random(len(when)) >= random.choice([0, 0, 0.1, 0.3])]
    when = when[(when >= time[0]) & (when < time[-1])]
    for index in np.searchsorted(time, when).tolist():
        if active[index]:
            lasting = len(shape) if fixed else int(random.geometric(1 / len(shape)))
            part = np.resize(shape, min(lasting, len(value) - index))
            value[index : index + lasting] += height * (1 + uneven * random.standard_normal()) * part
    return value


def _shape(random: Random) -> Array:
    """How one spike goes: flat, rising, falling, both, or in stages."""
    width = int(random.choice([1, 1, 1, 2, 3, 6, 12]))
    kind = random.random()
    if kind < 0.45:
        return np.ones(width)
    rise = np.linspace(0, 1, int(random.integers(2, 10)))[1:]
    fall = 0.5 ** np.arange(1, int(random.integers(2, 8)), dtype=np.float64)
    if kind < 0.6:
        return np.concatenate((rise, np.ones(width)))
    if kind < 0.75:
        return np.concatenate((rise**2, fall))
    if kind < 0.85:
        return np.concatenate((np.ones(width), fall))
    stages: Array = random.uniform(0, 1, int(random.integers(2, 9))) ** random.choice([0.5, 1, 2])
    return stages


def _log_uniform(random: Random, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _by_period(random: Random, time: Array, step: float) -> Array:
    period = _log_uniform(random, 900, DAY_S)
    when = np.arange(time[0] + random.uniform(0, period), time[-1], period)
    late: Array = random.choice([0, step * 0.3, period * 0.03]) * random.standard_normal(len(when))
    return when + late


def _by_hour(random: Random, time: Array, _step: float) -> Array:
    minutes = random.choice(12, random.integers(1, 4), replace=False) * 300.0
    hours = np.arange(time[0] // HOUR_S, time[-1] // HOUR_S + 1) * HOUR_S
    when = np.sort(np.concatenate([hours + minute for minute in minutes]))
    if random.random() < 0.4:
        when = when[(when // HOUR_S) % random.choice([2, 3, 4, 6]) == 0]
    return when


def _by_day(random: Random, time: Array, _step: float) -> Array:
    moments = random.uniform(0, DAY_S, random.integers(1, 5))
    days = np.arange(time[0] // DAY_S, time[-1] // DAY_S + 1) * DAY_S
    when = np.concatenate([days + moment for moment in moments])
    return np.sort(when + random.choice([0, 300, 1200]) * random.standard_normal(len(when)))


def _after_rests(random: Random, time: Array, _step: float) -> Array:
    mean, shape = _log_uniform(random, 900, 6 * HOUR_S), random.choice([2, 5, 20, 100])
    count = int((time[-1] - time[0]) / mean * 1.5) + 2
    rests: Array = random.gamma(shape, mean / shape, count)
    when: Array = time[0] + np.cumsum(rests)
    return when


def _at_random(random: Random, time: Array, _step: float) -> Array:
    mean = _log_uniform(random, 1200, 8 * HOUR_S)
    return np.sort(random.uniform(time[0], time[-1], int((time[-1] - time[0]) / mean) + 1))


def _in_bursts(random: Random, time: Array, _step: float) -> Array:
    mean, rest = _log_uniform(random, HOUR_S, 48 * HOUR_S), _log_uniform(random, 1200, 4 * HOUR_S)
    size = random.uniform(2, 8)
    starts = random.uniform(time[0], time[-1], int((time[-1] - time[0]) / mean) + 1)
    bursts = [start + np.cumsum(random.exponential(rest, random.geometric(1 / size))) for start in starts]
    return np.sort(np.concatenate(bursts))


def _in_patterns(random: Random, time: Array, _step: float) -> Array:
    rests = np.exp(random.uniform(np.log(600), np.log(2 * HOUR_S), random.integers(2, 5)))
    repeated = np.tile(rests, int((time[-1] - time[0]) / rests.sum()) + 2)
    jitter = random.choice([0, 60, 200]) * random.standard_normal(len(repeated))
    return np.sort(time[0] + np.cumsum(repeated + jitter))


_KINDS: tuple[Callable[[Random, Array, float], Array], ...] = (
    _by_period,
    _by_hour,
    _by_day,
    _after_rests,
    _at_random,
    _in_bursts,
    _in_patterns,
)
