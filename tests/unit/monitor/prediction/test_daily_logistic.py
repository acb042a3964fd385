"""The peer of the evaluation: it has no look-ahead, and it learns what its features can show."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.daily_logistic import daily_logistic
from services.monitor.domain.prediction.scoring import observe_truth, score
from tests.unit.monitor.prediction.recordings import HORIZON, clockwork, day_and_noise


@pytest.mark.parametrize("cut", [1, 290, 600])
def test_what_follows_changes_nothing(cut: int) -> None:
    time, excess = day_and_noise(1, 700)
    changed = excess.copy()
    changed[cut:] = np.random.default_rng(cut).standard_normal(700 - cut) * 50
    whole = daily_logistic(time, excess, 0.0, HORIZON)
    np.testing.assert_array_equal(daily_logistic(time, changed, 0.0, HORIZON)[:cut], whole[:cut])
    np.testing.assert_array_equal(daily_logistic(time[:cut], excess[:cut], 0.0, HORIZON), whole[:cut])


def test_a_rhythm_is_learned_from_the_second_day_on() -> None:
    time, excess = clockwork(12 * 24 * 4)
    said = daily_logistic(time, excess, 0.0, HORIZON)
    truth = observe_truth(time, excess, 0.0, HORIZON)
    assert np.array_equal(np.isnan(said), truth.breaching)
    late = time >= time[0] + 2 * 86_400
    found = score(truth, np.where(late, said, np.nan), 0.8)
    assert found.precision > 0.9
    assert found.brier_skill > 0.6
