"""Times that a person writes: what the answer recommends can be written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chassis.errors import UsageError
from cli.explain_question import Asked
from cli.times import parse_time

AT = 1_767_225_600.0


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "1767225600"])
def test_a_time_is_read(text: str) -> None:
    assert parse_time("--until", text) == AT


@pytest.mark.parametrize("text", ["2026-01-01", "2026-01-01T00", "2026-01-01 00:00:00"])
def test_a_time_without_an_offset_is_refused_with_one_that_is_not(text: str) -> None:
    with pytest.raises(UsageError, match="name the offset from UTC") as refused:
        parse_time("--until", text)
    assert parse_time("--until", str(refused.value).rpartition(" ")[2]) == AT


def test_a_duration_is_so_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: AT)
    assert parse_time("--since", "1h30m") == AT - 5_400
    assert parse_time("--at", "0s") == AT


def test_what_is_no_time_is_told_what_may_be_written() -> None:
    with pytest.raises(UsageError, match=r"--at tomorrow: write 2026-01-01T00:00:00Z, .* such as 30m"):
        parse_time("--at", "tomorrow")


def test_since_alone_asks_until_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: AT)
    asked = Asked(None, "slow", "api", (), None, "10m", None)
    assert asked.seconds() == (AT - 600, AT)
    with pytest.raises(UsageError, match="--at, or --since"):
        replace(asked, at="5m").seconds()
