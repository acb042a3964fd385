"""The list of aggregates in the language and the registry of what works them out are one list."""

from __future__ import annotations

import numpy as np
import pytest

from services.monitor.domain.language.aggregates import (
    AGGREGATES,
    BASELINE_AGGREGATES,
    TRAITS,
    Aggregate,
    Traits,
)
from services.monitor.domain.measuring.aggregates.change import PARTS
from services.monitor.domain.measuring.measures import Measure, OwnBank
from services.monitor.domain.measuring.registry import REGISTRY, measure_of
from services.monitor.domain.measuring.value_past import Moments
from services.monitor.domain.measuring.windows import Visible
from tests.unit.monitor.engine_log import T0


def test_each_name_has_traits_and_one_object() -> None:
    assert tuple(TRAITS) == AGGREGATES
    assert tuple(REGISTRY) == AGGREGATES
    assert len({id(each) for each in REGISTRY.values()}) == len(AGGREGATES)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_each_has_one_of_the_two_interfaces(aggregate: Aggregate) -> None:
    found = REGISTRY[aggregate]
    assert isinstance(found, Measure) is not isinstance(found, OwnBank)
    assert (measure_of(aggregate) is found) is isinstance(found, Measure)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_those_that_sum_up_make_a_baseline_and_no_others(aggregate: Aggregate) -> None:
    measure = measure_of(aggregate)
    sizes = np.array([3, 1])
    figures = None if measure is None else measure.figures(np.array([3.0, 1.0, 4.0, 5.0]), sizes)
    assert (figures is not None) is TRAITS[aggregate].sums_up is (aggregate in BASELINE_AGGREGATES)
    assert figures is None or (1.0 <= figures[0] <= 4.0 and figures[1:].tolist() == [5.0])


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_level_is_of_the_size_of_the_samples(aggregate: Aggregate) -> None:
    """Ten samples of 1000: whatever is a level is 1000 itself, and nothing else is."""
    if not TRAITS[aggregate].is_relative:
        assert (_of_equal(aggregate, 1_000.0) == 1_000.0) is TRAITS[aggregate].is_level
    assert not (TRAITS[aggregate].is_relative and TRAITS[aggregate].is_level)


@pytest.mark.parametrize("aggregate", [name for name in AGGREGATES if TRAITS[name].is_relative])
def test_nobody_asks_what_a_relative_value_was(aggregate: Aggregate) -> None:
    with pytest.raises(ValueError, match="relative"):
        _of_equal(aggregate, 1.0)


def test_each_part_of_a_change_has_a_second() -> None:
    assert TRAITS["change"].least_window == PARTS


def test_what_seconds_are_called() -> None:
    assert {name for name in AGGREGATES if TRAITS[name].span == "staleness"} == {"last"}
    assert Traits().span == "window"


def _of_equal(aggregate: Aggregate, value: float) -> float:
    second = T0 + np.arange(10)
    none = np.zeros(10, dtype=np.int64)
    samples = Visible(none, second, second, second.astype(np.float64), np.full(10, value), np.arange(10))
    past = REGISTRY[aggregate].past(30, 60)
    past.add(samples)
    return float(past.values_at(none[:1], Moments(second[-1:], step=1, count=1, window=30))[0, 0])
