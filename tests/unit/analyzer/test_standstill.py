"""When a topic counts as passed over."""

from __future__ import annotations

import pytest

from services.analyzer.domain.standstill import Behind, behind, stuck

ENDS = {"triggers": 10, "incidents": 4}


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        ({"triggers": 10, "incidents": 4}, {}),
        ({"triggers": 11, "incidents": 4}, {}),
        ({"triggers": 9, "incidents": 4}, {"triggers": Behind(9, 50.0)}),
        ({"triggers": 10}, {"incidents": Behind(0, 50.0)}),
    ],
)
def test_what_is_behind(progress: dict[str, int], expected: dict[str, Behind]) -> None:
    assert behind({}, progress, ENDS, 50.0) == expected


def test_what_stands_keeps_its_time_and_what_moves_begins_anew() -> None:
    first = behind({}, {"triggers": 3, "incidents": 2}, ENDS, 50.0)
    second = behind(first, {"triggers": 3, "incidents": 3}, ENDS, 57.0)
    assert second == {"triggers": Behind(3, 50.0), "incidents": Behind(3, 57.0)}
    assert stuck(second, 59.9, 10.0) == []
    assert stuck(second, 60.0, 10.0) == ["triggers"]
    assert stuck(second, 67.0, 10.0) == ["incidents", "triggers"]


def test_what_has_caught_up_is_forgotten() -> None:
    first = behind({}, {"triggers": 3, "incidents": 4}, ENDS, 50.0)
    assert behind(first, {"triggers": 10, "incidents": 4}, ENDS, 51.0) == {}
    assert behind({}, {"triggers": 3, "incidents": 4}, ENDS, 90.0)["triggers"].since == 90.0
