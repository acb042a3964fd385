"""The torture's verdict on a demo: right only if it ended well, and soon enough."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import torture

SUCCEEDS = (sys.executable, "-c", "")
FAILS = (sys.executable, "-c", "raise SystemExit(1)")


def test_a_later_demo_that_takes_too_long_is_counted_as_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torture, "LATER_DEMO_S", 0.0)
    assert torture.repeat_demo(tmp_path, 3, SUCCEEDS) == torture.Count(runs=3, right=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("scenario 1: right")
    assert lines[1].startswith("scenario 2: WRONG")
    assert lines[2] == "  too slow: it has to take less than 0 s"


def test_the_first_may_take_longer_since_it_downloads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert (torture.FIRST_DEMO_S, torture.LATER_DEMO_S) == (300.0, 60.0)
    assert torture.repeat_demo(tmp_path, 2, SUCCEEDS) == torture.Count(runs=2, right=2)
    monkeypatch.setattr(torture, "FIRST_DEMO_S", 0.0)
    assert torture.repeat_demo(tmp_path, 2, SUCCEEDS) == torture.Count(runs=2, right=1)


def test_a_demo_that_fails_is_wrong_however_quick(tmp_path: Path) -> None:
    assert torture.repeat_demo(tmp_path, 2, FAILS) == torture.Count(runs=2, right=0)
