"""The model that somebody would write in an afternoon: a logistic regression a series, refitted each day.

It looks at the distance to the threshold, the slopes, the time since the last breach, how the
intervals between breaches are spread, and the same time on former days; each new day it is fitted
to all of the series' own past whose answers are known. A peer for the evaluation, no part of the
product: it keeps the whole past of a series, and its fit takes longer every day.
"""

from __future__ import annotations

import numpy as np

from services.monitor.domain.prediction.scoring import Floats, observe_truth

_DAY_S = 86_400.0
_RIDGE = 30.0
"""Of standardised features: twice what a weight of one costs, in log loss. Neighbouring predictions share
most of their horizon, so a small one overfits: of 1, 10, 30 and 100 this gave the best precision and
recall on the series of docs/predictions.md."""


def daily_logistic(time: Floats, value: Floats, threshold: float, horizon: float) -> Floats:
    """The probability of a breach within ``horizon`` (seconds) at each sample; nan while breaching.

    A sample's probability is made from the samples up to it, and from answers that were known when
    its day began. Until a day has passed, and a breach and a quiet stretch were seen, it is the base rate.
    """
    looked = _features(time, value - threshold, horizon)
    truth = observe_truth(time, value, threshold, horizon)
    said = np.full(len(time), np.nan)
    for day in np.unique(time // _DAY_S):
        today = (time // _DAY_S == day) & ~truth.breaching
        known = truth.judged & (time + horizon <= day * _DAY_S)
        came = truth.within[known]
        if 0 < came.sum() < len(came):
            said[today] = _fit_and_predict(looked[known], came.astype(np.float64), looked[today])
        else:
            said[today] = (came.sum() + 0.05) / (len(came) + 1.0)
    return said


def _fit_and_predict(inputs: Floats, came: Floats, wanted: Floats) -> Floats:
    """Ridge logistic regression by Newton's method."""
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-9
    inputs = np.hstack((np.ones((len(inputs), 1)), (inputs - mean) / spread))
    wanted = np.hstack((np.ones((len(wanted), 1)), np.clip((wanted - mean) / spread, -5, 5)))
    penalty = _RIDGE * np.diag([1e-3, *[1.0] * (inputs.shape[1] - 1)])
    weights = np.zeros(inputs.shape[1])
    for _ in range(12):
        chance = _logistic(inputs @ weights)
        slope = inputs.T @ (came - chance) - penalty @ weights
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + penalty
        weights += np.clip(np.linalg.solve(curvature, slope), -1, 1)
    return _logistic(wanted @ weights)


def _features(time: Floats, excess: Floats, horizon: float) -> Floats:
    rows, breach_at, gaps = [], np.array([]), np.array([])
    highest = _highest_ahead(time, excess, horizon)
    for index, now in enumerate(time):
        if excess[index] > 0:
            if len(breach_at):
                gaps = np.append(gaps, now - breach_at[-1])
            breach_at = np.append(breach_at, now)
        day = excess[np.searchsorted(time, now - _DAY_S) : index + 1]
        spread = float(day.std()) + 1e-9
        back = [excess[max(0, index - steps)] for steps in (1, 3, 6, 12)]
        slopes = [(excess[index] - before) / spread for before in back]
        since = now - (breach_at[-1] if len(breach_at) else time[0])
        lasting = gaps[gaps > since]
        ends = float((lasting <= since + horizon).sum())
        former = highest[np.searchsorted(time, now - _DAY_S * np.arange(1, 1 + (now - time[0]) // _DAY_S))]
        rows.append(
            [
                *_squash(np.array([excess[index] / spread, day[-12:].mean() / spread, *slopes])),
                np.log1p(since / horizon),
                np.log((ends + 0.2) / (len(lasting) - ends + 0.8)),
                np.log1p(np.median(gaps) / horizon if len(gaps) else 50.0),
                np.log1p(np.subtract(*np.percentile(gaps, (75, 25))) / horizon) if len(gaps) else 0.0,
                np.log((np.sum(breach_at > now - 6 * 3_600) + 0.1) / 6),
                np.log((np.sum(breach_at > now - _DAY_S) + 0.1) / 24),
                float((former > 0).mean()) if len(former) else 0.0,
                float(_squash(former.mean() / spread)) if len(former) else 0.0,
            ]
        )
    return np.clip(np.array(rows), -6.0, 6.0)


def _highest_ahead(time: Floats, excess: Floats, horizon: float) -> Floats:
    """The highest value in (time, time + horizon]; only ever asked of former days."""
    end = np.searchsorted(time, time + horizon, side="right")
    return np.array(
        [excess[index + 1 : last].max(initial=-1e30) for index, last in enumerate(end)], dtype=np.float64
    )


def _squash(value: Floats) -> Floats:
    squashed: Floats = np.sign(value) * np.log1p(np.abs(value))
    return squashed


def _logistic(score: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-np.clip(score, -30.0, 30.0)))
