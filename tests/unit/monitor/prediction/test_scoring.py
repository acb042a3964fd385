"""The scorer: what is judged, what is an onset, and what each rate means."""

from __future__ import annotations

import math

import numpy as np
import pytest

from services.monitor.domain.prediction.linear import predict_linear
from services.monitor.domain.prediction.scoring import observe_truth, pool, score

MINUTE = 60.0
HORIZON = 30 * MINUTE


def series(values: list[float], *, step: float = 10 * MINUTE) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(values)) * step, np.array(values, dtype=np.float64)


def truth_of(values: list[float], *, step: float = 10 * MINUTE, threshold: float = 1.0):
    time, value = series(values, step=step)
    return observe_truth(time, value, threshold, HORIZON)


def test_a_breach_is_above_the_threshold_and_within_the_horizon_up_to_its_end() -> None:
    truth = truth_of([0, 0, 0, 0, 2, 1, 0, 0, 0])
    assert truth.breaching.tolist() == [False] * 4 + [True] + [False] * 4
    assert truth.within.tolist() == [False, True, True, True, False, False, False, False, False]
    assert np.flatnonzero(truth.onset).tolist() == [4]


def test_nothing_is_judged_while_breaching_nor_where_the_series_ends_within_the_horizon() -> None:
    truth = truth_of([0, 2, 0, 0, 0, 0])
    assert truth.judged.tolist() == [True, False, True, False, False, False]


def test_nothing_is_judged_before_a_gap_longer_than_the_horizon() -> None:
    time = np.array([0, 10, 60, 70, 80, 90, 100], dtype=np.float64) * MINUTE
    truth = observe_truth(time, np.array([0, 0, 2, 0, 0, 0, 0], dtype=np.float64), 1.0, HORIZON)
    assert truth.judged.tolist() == [True, False, False, True, False, False, False]
    assert not truth.onset.any()


def test_a_breach_at_the_start_is_no_onset() -> None:
    assert np.flatnonzero(truth_of([2, 2, 0, 2, 0, 0, 0, 0]).onset).tolist() == [3]


def test_precision_and_recall_by_hand() -> None:
    truth = truth_of([0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0])
    said = np.array([0.9, 0.1, 0.8, 0.79, 1, 1, 0.8, 0, 0, 0, 0, 0, 1, 0, 0, 0])
    result = score(truth, said, 0.8)
    assert (result.alerts, result.right) == (3, 1)
    assert result.precision == pytest.approx(1 / 3)
    assert (result.onsets, result.foreseen) == (2, 1)
    assert result.recall == 0.5


def test_an_alert_made_while_breaching_foresees_nothing() -> None:
    truth = truth_of([0, 0, 2, 0, 2, 0, 0, 0, 0])
    assert score(truth, np.array([0, 0, 1, 0, 0, 0, 0, 0, 0.0]), 0.8).foreseen == 0
    assert score(truth, np.array([0, 0, 1, 1, 0, 0, 0, 0, 0.0]), 0.8).foreseen == 1


def test_an_alert_more_than_a_horizon_before_the_onset_foresees_nothing() -> None:
    truth = truth_of([0, 0, 0, 0, 2, 0, 0, 0, 0])
    assert score(truth, np.array([1, 0, 0, 0, 0, 0, 0, 0, 0.0]), 0.8).foreseen == 0
    assert score(truth, np.array([0, 1, 0, 0, 0, 0, 0, 0, 0.0]), 0.8).foreseen == 1


def test_where_no_prediction_was_made_nothing_is_judged_but_the_onset_is_missed() -> None:
    truth = truth_of([0, 0, 0, 0, 2, 0, 0, 0, 0])
    result = score(truth, np.full(9, np.nan), 0.8)
    assert (result.judged, result.onsets, result.foreseen) == (0, 1, 0)
    assert math.isnan(result.precision)
    assert result.recall == 0.0


def test_the_base_rate_has_no_skill_and_the_truth_has_all() -> None:
    truth = truth_of([0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0])
    base = truth.within[truth.judged].mean()
    assert score(truth, np.full(11, base), 0.8).brier_skill == pytest.approx(0.0)
    assert score(truth, truth.within.astype(float), 0.8).brier_skill == 1.0
    assert score(truth, 1.0 - truth.within, 0.8).brier_skill < -1.0


def test_pooling_weighs_each_prediction_and_each_onset_alike() -> None:
    often = truth_of([0, 2] * 10 + [0, 0, 0, 0])
    rarely = truth_of([0] * 20 + [2] + [0] * 10)
    both = pool([score(often, np.ones(24), 0.8), score(rarely, np.zeros(31), 0.8)])
    assert both.judged == int(often.judged.sum() + rarely.judged.sum())
    assert both.onsets == 11
    assert both.recall == pytest.approx(10 / 11)
    assert both.precision == pytest.approx(often.within[often.judged].mean())
    assert both.brier_skill < both.brier_skill_common


def test_reliability_holds_every_judged_prediction_once() -> None:
    truth = truth_of([0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0])
    said = np.array([0.05, 1.0, 0.95, 0.95, 1, 0.05, 0.15, 0.05, 0, 0, 0])
    result = score(truth, said, 0.8)
    bins = result.reliability()
    assert sum(one.count for one in bins) == result.judged
    shown = [(one.low, one.count, one.observed) for one in bins]
    assert shown == [(0.0, 3, 0.0), (0.1, 1, 0.0), (0.9, 3, 1.0)]
    assert result.calibration_error() == pytest.approx((0.15 + 0.15 + 0.1) / 7)


@pytest.mark.parametrize(("time", "value"), [([0.0, 0.0], [1.0, 1.0]), ([0.0, 1.0], [1.0])])
def test_times_that_do_not_ascend_are_refused(time: list[float], value: list[float]) -> None:
    with pytest.raises(ValueError, match="time"):
        observe_truth(np.array(time), np.array(value), 0.0, HORIZON)


def test_an_empty_series_has_nothing_to_judge() -> None:
    result = score(observe_truth(np.array([]), np.array([]), 1.0, HORIZON), np.array([]), 0.8)
    assert (result.judged, result.onsets) == (0, 0)


def test_predict_linear_extends_the_line_by_the_horizon() -> None:
    time, value = series([0, 1, 2, 3])
    assert predict_linear(time, value, 4.9, window=HORIZON, horizon=HORIZON).tolist() == [0, 0, 1, 1]
    assert predict_linear(time, value, 5.1, window=HORIZON, horizon=HORIZON).tolist() == [0, 0, 0, 1]
    assert predict_linear(time, value, 6.1, window=HORIZON, horizon=HORIZON).tolist() == [0, 0, 0, 0]
