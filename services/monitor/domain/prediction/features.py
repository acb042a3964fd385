"""What a prediction looks at: the remembered numbers as some fifty features without a unit.

Levels are divided by how much the series moves, times by the horizon, and rates are log-odds, so
that one set of weights fits a latency in milliseconds and a rate in bytes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.monitor.domain.prediction.history import (
    DAY_S,
    HOUR_S,
    HOUR_SLOTS,
    LEVEL_HALVES,
    OUTCOME_HALVES,
    RATE_HALVES,
    History,
)

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

FEATURES = 53
_TINY = 1e-30
_RECENCY = 0.96
"""What each interval weighs beside the one after it."""
_ALIKE = 0.15
"""Two intervals are alike if they differ by about this much of a horizon, or of themselves."""


def features(history: History, rows: Rows) -> Array:
    """One row a series, ``FEATURES`` columns, right after its tick."""
    arrays = history.arrays
    time = arrays["ticked"][rows]
    last, level, quiet = arrays["last"][rows], arrays["level"][rows], arrays["quiet"][rows]
    moves = arrays["change"][rows, 0] / np.maximum(arrays["change"][rows, 1], 1.0)
    spread = np.sqrt(quiet[:, 2]) + 0.05 * moves + 1e-6 * np.abs(last[:, 0]) + _TINY
    columns = [_squash(last[:, index] / spread) for index in range(last.shape[1])]
    columns.append(_squash(last[:, 0] / (moves + 1e-6 * np.abs(last[:, 0]) + _TINY)))
    columns.append(_squash(quiet[:, 1] / spread))
    for index in range(len(LEVEL_HALVES)):
        columns.append(_squash(level[:, index, 1] / spread))
        deviation = np.sqrt(np.maximum(level[:, index, 2], 0.0)) + 1e-6 * np.abs(last[:, 0]) + _TINY
        columns.append(np.clip(level[:, index, 1] / deviation, -8.0, 8.0) / 4.0)
    for name, count, prior in (
        ("rate", len(RATE_HALVES), 0.05),
        ("near", 2, 0.2),
        ("outcome", len(OUTCOME_HALVES), 0.15),
    ):
        counts = arrays[name][rows]
        columns += [_odds(counts[:, index, 0], counts[:, index, 1], prior) for index in range(count)]
    columns.append(np.log1p(arrays["outcome"][rows, -1, 1]) / 3.0)
    columns += _rhythm(history, rows, time)
    columns += _calendar(history, rows, time, spread)
    return np.stack(columns, axis=1)


def _rhythm(history: History, rows: Rows, time: Array) -> list[Array]:
    """How the intervals between breaches are spread, given how long the present one has lasted."""
    arrays, horizon = history.arrays, history.horizon
    age = (time - arrays["began"][rows]) / horizon
    quiet_for = (time - arrays["breached"][rows]) / horizon
    since_onset = (time - arrays["onset"][rows]) / horizon
    since_before = (time - arrays["onset_before"][rows]) / horizon
    prior = _share(arrays["outcome"][rows, 1, 0], arrays["outcome"][rows, 1, 1], 0.15)
    gaps = arrays["gaps"][rows].astype(np.float64)
    beats = arrays["beats"][rows].astype(np.float64)
    recency: Array = _RECENCY ** np.arange(gaps.shape[1], dtype=np.float64)
    following, leading = beats[:, :-1], beats[:, 1:]
    pairs = following + leading
    unlike = (leading - beats[:, :1]) / (_ALIKE + 0.1 * beats[:, :1])
    alike = np.nan_to_num(np.exp(-0.5 * np.minimum(unlike * unlike, 50.0)), nan=0.0)
    columns = [
        np.log(np.where(np.isnan(since), age, since) + 0.1) / 2.0 for since in (quiet_for, since_onset)
    ]
    for intervals, since, weight in (
        (gaps, quiet_for, recency),
        (beats, since_onset, recency),
        (pairs, since_before, recency[1:]),
        (following, since_onset, recency[1:] * alike),
    ):
        columns += _hazard(intervals, since, weight, prior)
    spread = np.nanmax(np.where(np.isnan(beats[:, :8]), -1.0, beats[:, :8]), axis=1)
    least = np.nanmin(np.where(np.isnan(beats[:, :8]), 1e3, beats[:, :8]), axis=1)
    columns.append(np.log1p(np.maximum(spread, 0.0)) / 3.0)
    columns.append(np.log1p(least) / 3.0)
    return columns


def _hazard(intervals: Array, since: Array, weight: Array, prior: Array) -> list[Array]:
    """Log-odds that an interval that has lasted ``since`` ends within a horizon, and the evidence."""
    elapsed = np.where(np.isnan(since), np.inf, since)[:, None] + 0.02
    lasting = np.where(intervals > elapsed, weight, 0.0)
    alive = np.sum(lasting, axis=1)
    ends = np.sum(np.where(intervals <= elapsed + 1.0, lasting, 0.0), axis=1)
    odds = np.log((ends + 1.5 * prior) / (alive - ends + 1.5 * (1.0 - prior)))
    return [odds / 2.0, np.log1p(alive) / 2.0]


def _calendar(history: History, rows: Rows, time: Array, spread: Array) -> list[Array]:
    """The horizon ahead on former days, and in former hours."""
    arrays, horizon = history.arrays, history.horizon
    count = max(1, round(horizon / DAY_S * history.slots))
    here = ((time % DAY_S) / DAY_S * history.slots).astype(np.int64)
    ahead = (here[:, None] + 1 + np.arange(count)) % history.slots
    weight = arrays["day_weight"][rows[:, None], ahead].astype(np.float64)
    rate = arrays["day_rate"][rows[:, None], ahead] * weight / (weight + 0.5)
    level = np.where(weight > 0, arrays["day_level"][rows[:, None], ahead] / spread[:, None], -1e3)
    highest = level.max(axis=1)
    known = weight.mean(axis=1)
    columns = [
        np.log(rate.max(axis=1) + 0.02) / 2.0,
        np.log(rate.sum(axis=1) + 0.02) / 2.0,
        np.where(highest > -1e3, _squash(highest), -1.0),
        known / 3.0,
    ]
    count = min(HOUR_SLOTS, max(1, round(horizon / HOUR_S * HOUR_SLOTS)))
    here = ((time % HOUR_S) / HOUR_S * HOUR_SLOTS).astype(np.int64)
    ahead = (here[:, None] + 1 + np.arange(count)) % HOUR_SLOTS
    rate = arrays["hour_rate"][rows[:, None], ahead].astype(np.float64)
    level = arrays["hour_level"][rows[:, None], ahead] / spread[:, None]
    columns.append(np.log(rate.max(axis=1) + 0.02) / 2.0)
    columns.append(np.log(rate.sum(axis=1) + 0.02) / 2.0)
    columns.append(_squash(level.max(axis=1)))
    columns.append(_squash(level.mean(axis=1)))
    return columns


def _squash(value: Array) -> Array:
    return np.sign(value) * np.log1p(np.abs(value)) / 2.0


def _share(part: Array, whole: Array, prior: float) -> Array:
    return (part + prior) / (whole + 1.0)


def _odds(part: Array, whole: Array, prior: float) -> Array:
    share = _share(part, whole, prior)
    return np.log((share + 0.002) / (1.0 - share + 0.002)) / 3.0
