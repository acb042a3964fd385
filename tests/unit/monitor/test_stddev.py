"""The standard deviation is right where naive sums are not, and what is known of it without it is true."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from services.monitor.domain.engine.held_samples import HeldSamples
from services.monitor.domain.language.aggregates import TRAITS
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.phases import Verdict
from services.monitor.domain.measuring.aggregates import stddev
from services.monitor.domain.measuring.aggregates.stddev import Deviation
from services.monitor.domain.measuring.columns import Pending
from services.monitor.domain.measuring.lane_bank import LaneBank
from services.monitor.domain.measuring.lanes import Lanes
from services.monitor.domain.measuring.series_block import SeriesBlock
from services.monitor.domain.measuring.sides import OPEN, sides_of
from services.monitor.domain.measuring.windows import Floats, Ints, Visible
from tests.unit.monitor.engine_log import T0, rule, run
from tests.unit.monitor.reference import LogRecord, Point

MEASURE = Deviation()
FIGURES = stddev._figures
WINDOW, SECONDS = 20, 120


def _times() -> Ints:
    """Seconds with none, one and several samples."""
    chance = np.random.default_rng(1)
    return T0 + np.sort(chance.integers(0, SECONDS, size=300))


SECOND = _times()


def _shapes() -> dict[str, Floats]:
    chance = np.random.default_rng(2)
    noise = chance.normal(size=len(SECOND))
    return {
        "noise": noise,
        "far from 0": 1e9 + noise,
        "very far from 0": -1e13 + noise,
        "small": 1e-9 * noise,
        "sizes": np.exp(9.0 * noise),
        "two values": np.where(noise > 0.0, 10.0, 30.0),
        "neighbours": np.where(noise > 0.0, 0.1, math.nextafter(0.1, 1.0)),
        "far neighbours": np.where(noise > 0.0, 1e15, math.nextafter(1e15, math.inf)),
        "one outlier": np.where(np.arange(len(SECOND)) == 150, 1e12, noise),
        "steps": np.floor(np.arange(len(SECOND)) / 40) * 0.1,
    }


SHAPES = _shapes()


def _visible(values: Floats) -> Visible:
    none = np.zeros(len(values), dtype=np.int64)
    return Visible(none, SECOND, SECOND, SECOND.astype(np.float64), values, np.arange(len(values)))


def _block(values: Floats) -> SeriesBlock:
    seen = _visible(values)
    samples = Pending(seen.row, seen.second, seen.first, seen.time, seen.value, seen.offset)
    ((_, block),) = HeldSamples().block(samples, T0, T0 + SECONDS, WINDOW)
    return block


def _swept(values: Floats) -> tuple[Ints, Floats]:
    """The seconds with data at which a window changes, and the value from there on."""
    block = _block(values)
    steps = block.steps(WINDOW)
    steps = steps.only(steps.count > 0)
    return steps.at, MEASURE.swept(block, steps)


def _bank(values: Floats, conditions: Sequence[Condition]) -> LaneBank:
    lanes = Lanes()
    bank = LaneBank(lanes, WINDOW, MEASURE, TRAITS["stddev"])
    lane = lanes.add()
    for condition in conditions:
        bank.add_row(condition, None, lane)
    lanes.take(_visible(values), T0, T0 + SECONDS)
    return bank


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_right_to_many_digits(shape: str) -> None:
    """Against the standard library's, of exact fractions. The mean itself can be off by a rounding."""
    values = SHAPES[shape]
    for at, found in zip(*_swept(values), strict=True):
        inside = values[(at - WINDOW < SECOND) & (at >= SECOND)].tolist()
        exact = statistics.pstdev(map(Fraction, inside))
        rounding = 2.0 * float(np.finfo(np.float64).eps) * max(map(abs, inside))
        assert math.isclose(found, float(exact), rel_tol=1e-13, abs_tol=rounding)


def test_a_difference_of_sums_of_squares_would_not_do() -> None:
    """What is avoided: for these samples it has no right digit, and is the root of less than nothing."""
    values = SHAPES["far from 0"]
    naive = np.mean(values * values) - np.mean(values) ** 2
    assert not 0.5 < naive < 2.0
    assert 0.8 < _swept(values)[1][-1] < 1.3


@pytest.mark.parametrize("value", [0.1, -1e9 / 3, 5e-324, 1e149])
def test_equal_samples_deviate_by_nothing(value: float) -> None:
    values = np.full(len(SECOND), value)
    assert not _swept(values)[1].any()
    (findings,) = [_bank(values, [Condition("==", 0.0)]).find()]
    assert set(findings.verdicts(0).tolist()) <= {Verdict.BREACH, Verdict.NO_DATA}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_way_gives_the_same_bits(shape: str) -> None:
    values = SHAPES[shape]
    block = _block(values)
    live = _bank(values, [Condition(">", 0.0)]).find().values(0)
    for at, found in zip(*_swept(values), strict=True):
        assert MEASURE.value(block.window_at(int(at), WINDOW)) == found == live[at - T0]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_said_without_values_is_so(shape: str) -> None:
    """At thresholds that are values, and their neighbours: sides, bounds and verdicts."""
    values = SHAPES[shape]
    block = _block(values)
    at, found = _swept(values)
    least, greatest = MEASURE.bounds(block)
    assert least <= found.min()
    assert found.max() <= greatest
    steps = block.steps(WINDOW)
    steps = steps.only(steps.count > 0)
    some = found[:: max(1, len(found) // 25)].tolist()
    thresholds = [
        near for value in some for near in (value, math.nextafter(value, -1), math.nextafter(value, 9e9))
    ]
    for threshold in [*thresholds, 0.0, -1.0, math.inf]:
        sides = MEASURE.sides(block, steps, threshold)
        decided = sides != OPEN
        assert (sides[decided] == sides_of(found, threshold)[decided]).all()
    conditions = [Condition(sign, each) for each in thresholds for sign in (">", ">=", "<", "<=", "==", "!=")]
    findings = _bank(values, conditions).find()
    for row, condition in enumerate(conditions):
        verdicts = findings.verdicts(row)[at - T0]
        assert [condition.holds(each) for each in found] == (verdicts == Verdict.BREACH).tolist()


def test_few_windows_need_their_value() -> None:
    """Of noise, half its range is far above the deviation, and what is left of it over √(2n) far below."""
    block = _block(SHAPES["noise"])
    steps = block.steps(WINDOW)
    for threshold in (0.5, 0.9, 1.1, 3.0):
        assert (MEASURE.sides(block, steps, threshold) == OPEN).sum() == 0
    values = _bank(SHAPES["noise"], [Condition(">", 4.0), Condition("<", 0.05)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Deviation, "exact", _never)
        assert values.find().breaching() == []


def test_what_is_known_of_a_second_is_worked_out_once() -> None:
    """Until a late sample changes that second, or it leaves the window."""
    worked_out: list[int] = []

    def figures(values: Floats, count: Ints) -> tuple[Floats, Floats]:
        worked_out.append(len(values))
        return FIGURES(values, count)

    lanes = Lanes()
    bank = LaneBank(lanes, 4, MEASURE, TRAITS["stddev"])
    bank.add_row(Condition(">", 1.0), None, lanes.add())
    seconds = [[0, 0], [1, 1, 1], [2], [3, 1], [4], [5], []]
    chance = np.random.default_rng(4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stddev, "_figures", figures)
        for at, seen in enumerate(seconds):
            second = T0 + np.array(seen, dtype=np.int64)
            none, values = np.zeros(len(seen), dtype=np.int64), chance.normal(size=len(seen))
            first = np.full(len(seen), T0 + at)
            lanes.take(
                Visible(none, second, first, second.astype(np.float64), values, none + at), T0 + at, T0 + at
            )
            bank.find().values(0)
    # At second 3 its own sample, and the four that second 1 has by then.
    assert worked_out == [2, 3, 1, 5, 1, 1]


def test_distances_whose_squares_overflow_are_no_data() -> None:
    far = [1e160, -1e160, 3.0, 4.0, 1e150, 1.0, 1.0, 1.0]
    log = [LogRecord(at, T0 + at, (Point("m", "a", T0 + at, value),)) for at, value in enumerate(far * 5)]
    of_rules = [rule(aggregate="stddev", window=3, when="> 0.4", no_data="breach")]
    found = run(of_rules, log)
    assert {each.value for each in found if each.is_transition} >= {None, 0.0}
    assert run(of_rules, log, sweeping=True) == found


def test_a_metric_that_is_stuck_fires() -> None:
    """As one would write it: the same value for a minute, whatever it is, and enough samples of it."""
    values = [5.0, 5.1, 4.9, 5.2, *[5.3] * 30, 5.0, 5.1]
    log = [
        LogRecord(at, T0 + 5 * at, (Point("m", "a", T0 + 5 * at, value),)) for at, value in enumerate(values)
    ]
    stuck = rule(aggregate="stddev", window=60, when="== 0", min_samples=12, lasting=30)
    changes = [(each.at - T0, each.after) for each in run([stuck], log) if each.is_transition]
    # The last other sample, of 15 s, has left the window of 60 s at 75 s.
    assert changes == [(0, "pending"), (5, "inactive"), (75, "pending"), (105, "firing"), (170, "inactive")]


def _never(*_: object) -> Floats:
    raise AssertionError("a value was worked out")
