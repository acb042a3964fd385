"""Times that a person writes: what the answer recommends can be written."""

from __future__ import annotations

import pytest

from chassis.errors import UsageError
from cli.backtest_input import parse_time

AT = 1_767_225_600.0


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "1767225600"])
def test_a_time_is_read(text: str) -> None:
    assert parse_time("--until", text) == AT


@pytest.mark.parametrize("text", ["2026-01-01", "2026-01-01T00", "2026-01-01 00:00:00"])
def test_a_time_without_an_offset_is_refused_with_one_that_is_not(text: str) -> None:
    with pytest.raises(UsageError, match="name the offset from UTC") as refused:
        parse_time("--until", text)
    assert parse_time("--until", str(refused.value).rpartition(" ")[2]) == AT
