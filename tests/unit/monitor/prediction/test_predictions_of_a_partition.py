"""Predictions of a partition: whatever the portions, restarts and ages of what was remembered, each
alert is told at the same record, with the same bits; and how an alert begins and ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.prediction.alerts import PredictiveAlert
from services.monitor.domain.prediction.memory import RememberedSeries, read_remembered
from services.monitor.domain.prediction.predictions import SNAPSHOT_AFTER_S
from services.monitor.domain.prediction.predictor import Predictor
from services.monitor.domain.prediction.raised import in_words
from tests.unit.monitor.engine_log import Stored
from tests.unit.monitor.prediction.prediction_log import (
    NETWORK,
    Restarts,
    clock,
    fold,
    memory_of,
    opened,
    run,
    run_with_restarts,
    sample,
)
from tests.unit.monitor.prediction.recordings import HORIZON, clockwork

T0 = 1.7e9
ALERTS = (
    PredictiveAlert("latency", "ms", Condition(">", 100.0), 600, 0.3),
    PredictiveAlert("errors", "errors", Condition(">=", 3.0), 300, 0.15, ("component", "zone")),
    PredictiveAlert("low", "ms", Condition("<", 20.0), 900, 0.2),
)


@st.composite
def logs(draw: st.DrawFn) -> list[Stored]:
    """An hour or two of several series: rhythms, noise, late and repeated samples, gaps, clock records."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    step = draw(st.sampled_from([20.0, 60.0, 120.0]))
    log: list[Stored] = []
    time = T0
    for turn in range(draw(st.integers(30, 90))):
        time += step
        for number, component in enumerate(("a", "b", "c")):
            if random.random() < 0.15 or (number == 2 and turn % 40 > 20):
                continue
            at = time + float(random.choice([0.0, 0.0, 0.0, 0.25, -step, -2.5 * step]))
            beat = 150.0 if (turn + number) % (5 + number) == 0 else 60.0
            value = beat + float(random.choice([0.0, 0.0, 5.0, 80.0, -50.0]))
            if random.random() < 0.3:
                zone = str(random.choice(["east", "west", ""]))
                errors = float(random.integers(0, 5))
                log.append(
                    sample(len(log), "errors", component, errors, at, labels={"zone": zone}, append=time)
                )
            log.append(sample(len(log), "ms", component, value, at, append=time))
        if random.random() < 0.05:
            time += 900.0
            log.append(clock(len(log), time))
    return log


CUTS = st.lists(st.integers(1, 300), max_size=8)
RELAXED = settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@RELAXED
@given(log=logs(), portions=CUTS, lateness=st.sampled_from([0.0, 2.0, 30.0]))
def test_portions_change_nothing(log: list[Stored], portions: list[int], lateness: float) -> None:
    told, made, whole = run(ALERTS, log, lateness=lateness)
    again, made_again, parts = run(ALERTS, log, lateness=lateness, portions=portions)
    assert again == told
    order = lambda one: (one.at, one.alert.model, one.of)  # noqa: E731
    assert sorted(made_again, key=order) == sorted(made, key=order)
    assert memory_of(parts) == memory_of(whole)


@RELAXED
@given(
    log=logs(),
    restarts=CUTS,
    limit=st.sampled_from([0, 1, 3, 100]),
    lateness=st.sampled_from([0.0, 2.0, 30.0]),
)
def test_restarts_change_nothing(log: list[Stored], restarts: list[int], limit: int, lateness: float) -> None:
    told, _, whole = run(ALERTS, log, lateness=lateness)
    again, recalled = run_with_restarts(ALERTS, log, lateness=lateness, restarts=restarts, limit=limit)
    assert again == told
    assert memory_of(recalled) == memory_of(whole)
    assert len({(each.prediction_id, each.kind) for each in told}) == len(told)


def _observed_one_by_one(log: Sequence[tuple[int, float, float]], size: int) -> list[float]:
    predictor = Predictor(NETWORK, HORIZON, size)
    return [
        float(predictor.observe(np.array([row]), np.array([time]), np.array([excess]))[0])
        for row, time, excess in log
    ]


@RELAXED
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 40), st.booleans()), max_size=80))
def test_samples_of_a_row_taken_together_are_as_if_taken_one_by_one(
    steps: list[tuple[int, int, bool]],
) -> None:
    log = [(row, T0 + 100.0 * at + row, 1.0 if over else -1.0) for row, at, over in steps]
    log += [(0, T0, float("nan"))]
    predictor = Predictor(NETWORK, HORIZON, 5)
    rows, time, excess = (np.array(column) for column in zip(*log, strict=True))
    together = predictor.observe(rows, time, excess)
    np.testing.assert_array_equal(together, _observed_one_by_one(log, 5))


SLOWNESS = PredictiveAlert("slowness", "ms", Condition(">", 100.0), 1_800, 0.8)


def rhythm(length: int, component: str = "api", begin: int = 0) -> list[Stored]:
    """A breach each hour; ``begin`` is the first offset."""
    time, excess = clockwork(length)
    return [
        sample(begin + index, "ms", component, 100.0 + over, moment)
        for index, (moment, over) in enumerate(zip(time.tolist(), excess.tolist(), strict=True))
    ]


DAY = 288


def test_an_alert_is_told_once_and_ends_with_the_breach() -> None:
    log = rhythm(2 * DAY)
    told, made, _ = run([SLOWNESS], log)
    assert len(told) > 20
    whole = told[: len(told) // 2 * 2]
    assert [each.kind for each in whole] == ["raised", "came_true"] * (len(told) // 2)
    raised, ended = whole[-2:]
    first = next(one for one in made if one.at == raised.at)
    assert raised.probability == first.probability >= 0.8
    assert raised.raised.last_offset == raised.offset == (raised.at - 1.7e9) / 300
    assert (raised.raised.first_offset, raised.raised.samples) == (0, raised.offset + 1)
    assert raised.raised.answered >= raised.raised.came_true > 5
    assert ended.value == 103.0
    assert ended.at <= raised.raised.until == raised.at + 1_800
    assert f"with a probability of {in_words(raised.probability)} (0.8 or more" in raised.why
    assert f"{raised.raised.came_true} of {raised.raised.answered} came true" in raised.why
    assert ended.why.endswith(f"as was foreseen since {_clock(raised.at)} UTC")
    assert raised.prediction_id == ended.prediction_id


def _clock(time: float) -> str:
    seconds = int(time) % 86_400
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"


def open_alert() -> tuple[list[Stored], float]:
    """A log up to the raising of an alert, and when it was raised."""
    log = rhythm(2 * DAY)
    told, _, _ = run([SLOWNESS], log)
    raised = [each for each in told if each.kind == "raised"][-1]
    return log[: raised.offset + 1], raised.at


def test_it_does_not_come_true_if_the_window_is_quiet() -> None:
    log, at = open_alert()
    quiet = sample(len(log), "ms", "api", 99.0, at + 1)
    told, _, _ = run([SLOWNESS], [*log, quiet, clock(len(log) + 1, at + 1_800)])
    assert (told[-1].kind, told[-1].at, told[-1].value) == ("not_come_true", at + 1_800, None)
    told, _, _ = run([SLOWNESS], [*log, quiet, sample(len(log) + 1, "ms", "api", 150.0, at + 1_801)])
    assert (told[-1].kind, told[-1].at, told[-1].value) == ("not_come_true", at + 1_800, 150.0)


def test_silence_is_told_as_no_data() -> None:
    log, at = open_alert()
    told, _, _ = run([SLOWNESS], [*log, clock(len(log), at + 1_799.5)])
    assert told[-1].kind == "raised"
    told, _, _ = run([SLOWNESS], [*log, clock(len(log), at + 1_800)])
    assert (told[-1].kind, told[-1].at, told[-1].offset) == ("no_data", at + 1_800, len(log))
    late = [*log, sample(len(log), "ms", "api", 150.0, at + 1_900)]
    told, _, _ = run([SLOWNESS], late)
    assert (told[-1].kind, told[-1].at) == ("no_data", at + 1_800)


def test_an_alert_is_withdrawn_below_half_of_the_confidence() -> None:
    log, at = open_alert()
    drop = [sample(len(log) + step, "ms", "api", -4_000.0, at + 300 * (step + 1)) for step in range(5)]
    told, made, _ = run([SLOWNESS], [*log, *drop])
    low = next((one for one in made if one.at > at and one.probability < 0.4), None)
    assert low is not None
    assert (told[-1].kind, told[-1].at, told[-1].probability) == ("withdrawn", low.at, low.probability)


def test_nothing_is_raised_for_a_window_that_is_over() -> None:
    log, _ = open_alert()
    assert run([SLOWNESS], log)[0][-1].kind == "raised"
    behind = [clock(0, log[-1].timestamp / 1000 + 1_800), *_later(log, 1)]
    told, made, _ = run([SLOWNESS], behind)
    assert made
    assert told == []


def _later(log: Sequence[Stored], by: int) -> list[Stored]:
    return [Stored(each.offset + by, each.timestamp, each.value) for each in log]


def test_a_record_is_written_when_it_is_old_and_the_oldest_first() -> None:
    log = [clock(0, T0)]
    for turn in range(30):
        for number in range(6):
            log.append(sample(len(log), "ms", f"c{number}", 50.0, T0 + 60 * turn))
    stage = Restarts([SLOWNESS], 0.0)
    stage.work(log[:7], 2)
    assert stage.stored == {}
    assert stage.checkpoint is not None
    assert (stage.checkpoint.replay_from, stage.checkpoint.replay_second) == (1, T0)
    due = 2 + 6 * (SNAPSHOT_AFTER_S // 60)
    stage.work(log[7:due], 2)
    assert sorted(stage.stored) == [b"series/slowness/c0", b"series/slowness/c1"]
    assert stage.checkpoint.replay_from == 3
    stage.write(100)
    assert len(stage.stored) == 6
    assert stage.checkpoint.replay_from == stage.checkpoint.next_offset == due
    assert all(7_000 < len(value) < 12_000 for value in stage.stored.values())
    stage.work(log[due : due + 6], 100)
    assert (stage.checkpoint.replay_from, len(stage.stored)) == (due, 6)


def test_another_definition_begins_anew_and_says_so_once() -> None:
    log, _ = open_alert()
    stage = Restarts([SLOWNESS], 0.0)
    stage.work(log[:100], 100)
    stage.work(log[100:], 100)
    assert sorted(stage.stored) == [b"open/slowness/api", b"series/slowness/api"]
    told = len(stage.told)
    assert stage.told[-1].kind == "raised"
    changed = PredictiveAlert("slowness", "ms", Condition(">", 120.0), 1_800, 0.8)
    stage.restart(log, [changed])
    assert stage.anew == ["slowness"]
    stage.write(100)
    assert [each.kind for each in stage.told[told:]] == ["superseded"]
    assert stage.told[-1].alert.breach == Condition(">", 100.0)
    assert stage.stored == {}
    stage.restart(log)
    assert stage.anew == []
    stage.write(100)
    assert len(stage.told) == told + 1
    fold(stage.predictions, [sample(len(log), "ms", "api", 99.0, log[-1].timestamp / 1000 + 300)])
    fresh = opened([changed], begin=len(log))
    fold(fresh, [sample(len(log), "ms", "api", 99.0, log[-1].timestamp / 1000 + 300)])
    assert memory_of(stage.predictions) == memory_of(fresh)


def test_an_alert_that_ended_since_its_series_was_written_is_not_superseded() -> None:
    log, at = open_alert()
    stage = Restarts([SLOWNESS], 0.0)
    stage.work(log, 0)
    stage.write(100)
    stage.work([sample(len(log), "ms", "api", 150.0, at + 60)], 0)
    assert [each.kind for each in stage.told[-2:]] == ["raised", "came_true"]
    assert sorted(stage.stored) == [b"series/slowness/api"]
    stage.restart(log, [])
    stage.write(100)
    assert stage.told[-1].kind == "came_true"
    assert stage.stored == {}


def test_what_a_former_life_of_the_topics_left_is_forgotten_silently() -> None:
    log, _ = open_alert()
    stage = Restarts([SLOWNESS], 0.0)
    stage.work(log, 100)
    told = len(stage.told)
    stage.checkpoint = opened([SLOWNESS]).first_checkpoint()
    stage.restart(log)
    stage.write(0)
    assert stage.stored == {}
    assert len(stage.told) == told


def test_another_confidence_keeps_what_was_learned() -> None:
    log = rhythm(DAY)
    stage = Restarts([SLOWNESS], 0.0)
    stage.work(log, 100)
    before = memory_of(stage.predictions)
    lower = PredictiveAlert("slowness", "ms", Condition(">", 100.0), 1_800, 0.5)
    stage.restart(log, [lower])
    assert stage.anew == []
    after = memory_of(stage.predictions)
    models = []
    for memories in (before, after):
        (memory,) = (read_remembered(b"series/", value) for value in memories.values())
        assert isinstance(memory, RememberedSeries)
        models.append(memory.model)
    assert models[0] == models[1]


def test_a_series_of_another_layout_is_refused() -> None:
    predictor = Predictor(NETWORK, 600.0, 1)
    with pytest.raises(ValueError, match="layout"):
        predictor.load_row(0, predictor.row_bytes(0)[:-1])


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (0.0, "less than 0.01"),
        (0.004, "less than 0.01"),
        (0.01, "0.01"),
        (0.874, "0.87"),
        (0.99, "0.99"),
        (0.9965, "more than 0.99"),
        (1.0, "more than 0.99"),
    ],
)
def test_no_prediction_is_called_a_certainty(probability: float, words: str) -> None:
    assert in_words(probability) == words
