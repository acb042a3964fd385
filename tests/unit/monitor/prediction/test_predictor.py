"""The online model: no look-ahead, one row as many, snapshots, answers, and that it learns."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest

from services.monitor.domain.prediction.features import FEATURES, features
from services.monitor.domain.prediction.history import History, day_slots
from services.monitor.domain.prediction.model import new_predictor, shipped_network
from services.monitor.domain.prediction.predictor import Predictor
from services.monitor.domain.prediction.scoring import observe_truth, score
from tests.unit.monitor.prediction.recordings import HORIZON, STEP, clockwork, day_and_noise

ROW = np.zeros(1, dtype=np.int64)


def run(predictor: Predictor, time: np.ndarray, excess: np.ndarray, row: int = 0) -> np.ndarray:
    rows = np.array([row])
    pairs = zip(time, excess, strict=True)
    return np.array([predictor.observe(rows, np.array([t]), np.array([e]))[0] for t, e in pairs])


def together(*series: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """Each series in a row of its own of one new predictor."""
    predictor = new_predictor(HORIZON, len(series))
    said = [np.empty(len(time)) for time, _ in series]
    for index in range(max(len(time) for time, _ in series)):
        rows = [row for row, (time, _) in enumerate(series) if index < len(time)]
        time = np.array([series[row][0][index] for row in rows])
        excess = np.array([series[row][1][index] for row in rows])
        for row, chance in zip(rows, predictor.observe(np.array(rows), time, excess), strict=True):
            said[row][index] = chance
    return said


def test_the_predictions_for_a_prefix_are_those_for_the_whole_series() -> None:
    time, excess = day_and_noise(1, 700)
    cuts = (1, 2, 300, 601)
    others = []
    for cut in cuts:
        changed = excess.copy()
        changed[cut:] = np.random.default_rng(cut).standard_normal(700 - cut) * 50
        others += [(time[:cut], excess[:cut]), (time, changed)]
    whole, *found = together((time, excess), *others)
    for cut, prefix, changed in zip(cuts, found[::2], found[1::2], strict=True):
        np.testing.assert_array_equal(prefix, whole[:cut])
        np.testing.assert_array_equal(changed[:cut], whole[:cut])


def test_many_series_together_are_each_as_if_alone_bit_by_bit() -> None:
    length = 150
    series = [day_and_noise(seed, length) for seed in range(9)]
    predictor = new_predictor(HORIZON, 9)
    chooser = np.random.default_rng(5)
    at, said = [0] * 9, [np.empty(length) for _ in range(9)]
    while any(index < length for index in at):
        rows = [row for row in range(9) if at[row] < length and chooser.random() < 0.7]
        chooser.shuffle(rows)
        if rows:
            time = np.array([series[row][0][at[row]] for row in rows])
            excess = np.array([series[row][1][at[row]] for row in rows])
            answer = predictor.observe(np.array(rows), time, excess)
            for row, chance in zip(rows, answer, strict=True):
                said[row][at[row]] = chance
                at[row] += 1
    for row in (0, 4, 8):
        np.testing.assert_array_equal(said[row], run(new_predictor(HORIZON, 1), *series[row]))


def test_more_series_than_are_computed_at_once_are_each_as_if_alone() -> None:
    time, excess = day_and_noise(7, 30)
    predictor = new_predictor(HORIZON, 1_100)
    rows = np.arange(1_100)
    said = np.stack(
        [
            predictor.observe(rows, np.full(1_100, t), np.full(1_100, e))
            for t, e in zip(time, excess, strict=True)
        ]
    )
    expected = run(new_predictor(HORIZON, 1), time, excess)
    np.testing.assert_array_equal(said, np.repeat(expected[:, None], 1_100, axis=1))


@pytest.mark.parametrize("cut", [0, 1, 37, 150])
def test_a_restored_snapshot_goes_on_bit_by_bit(cut: int) -> None:
    time, excess = day_and_noise(2, 200)
    predictor = new_predictor(HORIZON, 2)
    run(predictor, time[:cut], excess[:cut], row=1)
    taken = predictor.snapshot()
    restored = Predictor.restore(shipped_network(), taken)
    assert restored.snapshot() == taken
    expected = run(predictor, time[cut:], excess[cut:], row=1)
    np.testing.assert_array_equal(run(restored, time[cut:], excess[cut:], row=1), expected)
    assert restored.snapshot() == predictor.snapshot()


def test_growing_changes_nothing_for_those_there() -> None:
    time, excess = day_and_noise(3, 150)
    grown = new_predictor(HORIZON, 1)
    first = run(grown, time[:60], excess[:60])
    grown.grow(50)
    said = np.concatenate((first, run(grown, time[60:], excess[60:])))
    np.testing.assert_array_equal(said, run(new_predictor(HORIZON, 1), time, excess))
    np.testing.assert_array_equal(run(grown, time, excess, row=49), said)


def test_what_is_no_snapshot_or_of_another_shape_is_refused() -> None:
    taken = new_predictor(HORIZON, 1).snapshot()
    for broken in (b"", b"no snapshot", taken[: len(taken) // 2]):
        with pytest.raises(ValueError, match="snapshot"):
            Predictor.restore(shipped_network(), broken)
    with np.load(io.BytesIO(taken)) as stored:
        arrays = dict(stored)
    for name, value in (("meta", np.array([99.0, HORIZON])), ("history.seen", np.zeros(3))):
        file = io.BytesIO()
        np.savez(file, **{**arrays, name: value})
        with pytest.raises(ValueError, match="snapshot"):
            Predictor.restore(shipped_network(), file.getvalue())


def test_no_prediction_while_breaching_nor_for_an_old_or_unusable_sample() -> None:
    predictor = new_predictor(HORIZON, 1)
    said = run(predictor, np.array([0, 300, 600, 600, 450, 900]), np.array([-1.0, 1.0, -1, -1, -1, np.nan]))
    assert np.isfinite(said).tolist() == [True, False, True, False, False, False]
    assert ((said > 0) & (said < 1)).tolist() == np.isfinite(said).tolist()


@pytest.mark.parametrize(("step", "every"), [(10.0, 30), (60.0, 5), (300.0, 1), (900.0, 1), (3_600.0, 1)])
def test_any_sampling_step_is_evaluated_at_most_each_sixth_of_the_horizon(step: float, every: int) -> None:
    length = 12 * every
    said = run(new_predictor(HORIZON, 1), np.arange(length) * step, np.full(length, -1.0))
    made = np.flatnonzero(np.isfinite(said))
    assert made[0] == 0
    assert set(np.diff(made)) <= {every, max(1, round(0.9 * every))}


def test_a_breach_between_two_evaluations_is_seen() -> None:
    time = np.arange(60) * 60.0
    excess = np.full(60, -1.0)
    excess[32] = 1.0
    predictor = new_predictor(HORIZON, 1)
    run(predictor, time, excess)
    with np.load(io.BytesIO(predictor.snapshot())) as stored:
        assert stored["history.breached"][0] == 35 * 60.0


def test_answers_come_a_horizon_later_whatever_they_are() -> None:
    time = np.arange(20) * STEP
    excess = np.full(20, -1.0)
    excess[3] = 1.0
    predictor = new_predictor(HORIZON, 1)
    answered = []
    for index in range(20):
        predictor.observe(ROW, time[index : index + 1], excess[index : index + 1])
        with np.load(io.BytesIO(predictor.snapshot())) as stored:
            answered.append(bool(stored["history.outcome"][0, 0, 1] > 0))
    assert answered == [False] * 6 + [True] * 14


def test_a_prediction_that_no_sample_followed_teaches_nothing() -> None:
    predictor = new_predictor(HORIZON, 1)
    run(predictor, np.array([0.0, 7_200.0, 14_400.0]), np.array([-1.0, 1.0, -1.0]))
    with np.load(io.BytesIO(predictor.snapshot())) as stored:
        assert stored["history.outcome"][0, 0].tolist() == [0.0, 0.0]


def test_a_rhythm_is_learned_rest_is_believed_and_noise_gets_its_base_rate() -> None:
    random = np.random.default_rng(4)
    time, rhythm = clockwork(12 * 24 * 4)
    noise = random.standard_normal(len(time)) - 1.8
    calm = -8.0 + 0.3 * random.standard_normal(len(time))
    said = together((time, rhythm), (time, noise), (time, calm))
    late = time >= time[0] + 86_400
    found = [
        score(observe_truth(time, excess, 0.0, HORIZON), np.where(late, chance, np.nan), 0.8)
        for excess, chance in zip((rhythm, noise), said, strict=False)
    ]
    assert found[0].precision > 0.95
    assert found[0].foreseen > 0.9 * 3 * 24
    assert found[0].brier_skill > 0.8
    assert found[1].alerts < 10
    assert found[1].brier_skill > -0.04
    assert found[1].calibration_error() < 0.06
    assert said[2][late].max() < 0.05


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e12])
def test_units_and_constant_series_are_borne(scale: float) -> None:
    time, excess = day_and_noise(6, 200)
    usual, said, flat = together((time, excess), (time, excess * scale), (time, np.full(200, -scale)))
    np.testing.assert_allclose(said, usual, rtol=0, atol=2e-3)
    assert np.all((flat >= 0) & (flat <= 1))


@pytest.mark.parametrize("horizon", [60.0, 900.0, 1_800.0, 7_200.0, 86_400.0])
def test_any_horizon_has_its_features(horizon: float) -> None:
    history = History(3, horizon)
    rows = np.arange(3)
    random = np.random.default_rng(1)
    for tick in range(40):
        time, excess = np.full(3, 1e9 + tick * horizon / 6), random.standard_normal(3)
        assert (history.next_tick(rows, time, rows, rows + 1) == rows).all()
        history.gather(rows, excess, rows, rows + 1)
        history.tick(rows, time, excess)
        found = features(history, rows)
        assert found.shape == (3, FEATURES)
        assert np.isfinite(found).all()
    assert 24 <= day_slots(horizon) <= 288


def test_a_horizon_is_longer_than_nothing() -> None:
    for wrong in itertools.chain((0.0, -1.0), [float("nan")]):
        with pytest.raises(ValueError, match="horizon"):
            new_predictor(wrong)
