"""The compact way to write a series."""

from __future__ import annotations

import pytest

from services.monitor.domain.trials.series_notation import parse_series


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("2000", [2000.0]),
        ("2000x3", [2000.0] * 3),
        ("1x0 2", [2.0]),
        ("-1.5x2 _ 1e3", [-1.5, -1.5, None, 1000.0]),
        ("_x2 1", [None, None, 1.0]),
        ("3000+50x4", [3000.0, 3050.0, 3100.0, 3150.0, 3200.0]),
        ("3-1.5x2", [3.0, 1.5, 0.0]),
        ("-3--1x2", [-3.0, -2.0, -1.0]),
        ("0.95-0.01x5", [0.95, 0.94, 0.93, 0.92, 0.91, 0.9]),
        ("1_000x1", [1000.0]),
    ],
)
def test_what_it_stands_for(text: str, values: list[float | None]) -> None:
    assert parse_series(text) == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no value"),
        ("1x0", "there is no value"),
        ("2000x", "'2000x' is not a number"),
        ("x5", "'x5' is not a number"),
        ("2000 x5", "'x5' is not a number"),
        ("1+1", "does not say how often"),
        ("1e999", "too large"),
        ("1+1e999x3", "too large"),
        ("1x999999999", "more than 1000000 samples"),
        ("nan", "'nan' is not a number"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_series(text)
