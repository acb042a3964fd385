"""A bank of quantiles leaves rows out that cannot breach, and no others; what it looks at is exact."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.domain.language.aggregates import TRAITS
from services.monitor.domain.language.conditions import OPERATORS, Condition
from services.monitor.domain.measuring.aggregates import quantile
from services.monitor.domain.measuring.aggregates.quantile import Quantile
from services.monitor.domain.measuring.lane_bank import LaneBank
from services.monitor.domain.measuring.lanes import Lanes
from services.monitor.domain.measuring.quantiles import quantile_of, quantiles_of
from services.monitor.domain.measuring.windows import Visible

T0 = 1_767_225_600


def samples(chance: np.random.Generator, lanes: int, first: int, seconds: int, rate: float) -> Visible:
    """Around ``rate`` a second and lane, whole numbers with many ties and a spell of high ones."""
    count = int(rate * seconds * lanes)
    second = np.sort(chance.integers(first, first + seconds, count))
    value = np.round(np.exp(chance.normal(3.0, 0.5, count)))
    value[(second - T0) // 7 % 5 == 1] *= 3
    row = chance.integers(0, lanes, count)
    return Visible(row, second, second, second.astype(float), value, np.arange(count) + 1_000 * first)


@given(
    seed=st.integers(0, 2**32 - 1),
    fraction=st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0]),
    window=st.integers(1, 40),
    lanes=st.integers(1, 4),
    rows_of_lane=st.integers(1, 6),
    blocks=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    rate=st.sampled_from([0.1, 1.0, 8.0, 40.0]),
    operators=st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=3),
)
def test_no_row_that_breaches_is_left_out(
    seed: int,
    fraction: float,
    window: int,
    lanes: int,
    rows_of_lane: int,
    blocks: list[int],
    rate: float,
    operators: list[str],
) -> None:
    chance = np.random.default_rng(seed)
    held = Lanes()
    bank = LaneBank(held, window, Quantile(fraction), TRAITS["p95"])
    numbers = [held.add() for _ in range(lanes)]
    for index in range(lanes * rows_of_lane):
        threshold = float(np.round(np.exp(chance.normal(3.5, 0.8))))
        bank.add_row(Condition(operators[index % len(operators)], threshold), None, numbers[index % lanes])
    first = T0
    for seconds in blocks:
        held.take(samples(chance, lanes, first, seconds, rate), first, first + seconds - 1)
        every, some = bank.find(), bank.find(set())
        assert some.breaching() == every.breaching()
        for row in some.breaching():
            assert some.verdicts(row).tolist() == every.verdicts(row).tolist()
        first += seconds


@pytest.mark.parametrize("rows_of_lane", [1, 4])
@pytest.mark.parametrize(("operator", "far", "near"), [(">", 98.0, 93.0), ("<", 60.0, 97.0)])
def test_only_rows_near_the_quantile_are_looked_at(
    rows_of_lane: int, operator: str, far: float, near: float
) -> None:
    """The values of each second are 1 to 100, in windows of 60 seconds: some reach every threshold."""
    held = Lanes()
    bank = LaneBank(held, 60, Quantile(0.95), TRAITS["p95"])
    lanes = [held.add(), held.add()]
    for lane in lanes * rows_of_lane:
        for threshold in (far, near):
            bank.add_row(Condition(operator, threshold), None, lane)  # type: ignore[arg-type]
    for first, seconds in ((T0, 60), (T0 + 60, 20)):
        count = seconds * 100 * 2
        second = first + np.arange(count) // 200
        value = (np.arange(count) // 2 % 100 + 1).astype(float)
        row = np.arange(count) % 2
        offset = np.arange(count) + 1_000_000 * first
        held.take(
            Visible(row, second, second, second.astype(float), value, offset), first, first + seconds - 1
        )
    found = bank.find(set())
    assert found.rows is not None
    assert found.rows.tolist() == found.breaching() == list(range(1, 4 * rows_of_lane, 2))


def test_a_few_seconds_of_trouble_are_no_reason_to_count() -> None:
    """Of 60 seconds two have high values in half of their samples: too few for p95."""
    held = Lanes()
    bank = LaneBank(held, 60, Quantile(0.95), TRAITS["p95"])
    lane = held.add()
    for threshold in (200.0, 150.0, 9.0):
        bank.add_row(Condition(">", threshold), None, lane)
    for first, seconds in ((T0, 60), (T0 + 60, 20)):
        second = first + np.arange(20 * seconds) // 20
        trouble = (second - T0 >= 30) & (second - T0 < 32) & (np.arange(20 * seconds) % 2 == 0)
        none = np.zeros(20 * seconds, dtype=np.int64)
        value = np.where(trouble, 300.0, 10.0)
        held.take(
            Visible(none, second, second, second.astype(float), value, none + first),
            first,
            first + seconds - 1,
        )
    with patch.object(quantile, "_counted", wraps=quantile._counted) as counted:
        found = bank.find(set())
    assert found.rows is not None
    assert found.rows.tolist() == found.breaching() == [2]
    assert set(counted.call_args_list[0].args[2].tolist()) == {2}


def test_nothing_is_found_where_no_row_is_worth_a_look() -> None:
    held = Lanes()
    bank = LaneBank(held, 10, Quantile(0.95), TRAITS["p95"])
    bank.add_row(Condition(">", 5.0), Condition("<", 3.0), held.add())
    none, second, value = np.zeros(1, dtype=np.int64), np.array([T0]), np.array([1.0])
    held.take(Visible(none, second, second, second.astype(float), value, none), T0, T0 + 20)
    found = bank.find(set())
    assert (found.breaching(), found.never_clear()) == ([], set())


@given(
    seed=st.integers(0, 2**32 - 1),
    fraction=st.sampled_from([0.0, 0.5, 0.95, 0.999, 1.0]),
    lengths=st.lists(st.sampled_from([0, 1, 2, 7, 299, 300, 301, 900]), min_size=1, max_size=8),
)
def test_windows_of_every_length_have_the_quantile_of_their_samples(
    seed: int, fraction: float, lengths: list[int]
) -> None:
    values = np.random.default_rng(seed).normal(100.0, 30.0, 1_000)
    low = np.random.default_rng(seed + 1).integers(0, 100, len(lengths))
    found = quantiles_of(values, low, low + np.array(lengths), fraction)
    for value, begin, length in zip(found.tolist(), low.tolist(), lengths, strict=True):
        if length == 0:
            assert np.isnan(value)
        else:
            assert value == quantile_of(values[begin : begin + length].tolist(), fraction)
