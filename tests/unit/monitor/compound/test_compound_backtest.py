"""``triggers backtest`` with compound triggers: the second stage over the transitions of the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.triggers import app
from tests.unit.monitor.compound.members import T0
from tests.unit.monitor.workspace import enter

RULES = """\
triggers: [{name: slow, metric: ms, when: "> 100", for: 3s, staleness: 10s}]
compound_triggers:
  - {name: three, at_least: 3 components, window: 10s}
  - {name: spread, cascade: 2 components, window: 30s}
  - {name: corrupted, report: data_corruption}
"""


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration and a working directory."""
    enter(tmp_path, monkeypatch, RULES, targets="default: '{component}'\ndepends_on: {c: [b]}\n")


def _samples(**breaches: tuple[int, int]) -> list[str]:
    """For each component a sample a second, above the threshold from its first second to its last."""
    return [
        json.dumps(
            {
                "metric": "ms",
                "component": component,
                "value": 150 if begin <= at < end else 50,
                "time": T0 + at,
            }
        )
        for component, (begin, end) in breaches.items()
        for at in range(60)
    ]


def _backtest(lines: list[str], *more: str) -> tuple[list[dict[str, Any]], Result]:
    Path("samples.jsonl").write_text("\n".join(lines) + "\n")
    arguments = ["backtest", "--rules", "rules.yml", "--input", "samples.jsonl", *more]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()], result


def test_compound_transitions_are_among_the_others_in_order_of_time() -> None:
    """One component after the other in the file: what decides are their times."""
    shown, result = _backtest(_samples(c=(14, 40), a=(10, 40), b=(12, 30)))
    three = [entry for entry in shown if entry["trigger"] == "three"]
    assert three[0] == {
        "at": "2026-01-01T00:00:17Z",
        "trigger": "three",
        "group": {"component": "full_system"},
        "from": "inactive",
        "to": "firing",
        "reason": "enough_firing",
        "value": 3.0,
        "threshold": 3.0,
        "began": "2026-01-01T00:00:13Z",
        "id": three[0]["id"],
        "members": [f"slow:{c}:20260101T0000{second}Z" for c, second in (("a", 10), ("b", 12), ("c", 14))],
    }
    assert three[0]["id"].endswith(":20260101T000013Z")
    assert (three[1]["at"], three[1]["to"], three[1]["reason"]) == (
        "2026-01-01T00:00:30Z",
        "inactive",
        "fewer_firing",
    )
    spread = [(entry["at"][-3:-1], entry["to"]) for entry in shown if entry["trigger"] == "spread"]
    assert spread == [("17", "firing"), ("30", "inactive")]
    times = [entry["at"] for entry in shown]
    assert times == sorted(times)
    assert "corrupted: reports decide, and there are none among the samples" in result.stderr
    assert "rollback full_system" in result.stderr


def test_the_summary_has_them() -> None:
    _backtest(_samples(a=(10, 60), b=(12, 60), c=(14, 60)), "--summary-json", "summary.json")
    summary = json.loads(Path("summary.json").read_text())
    lines = {line["trigger"]: line for line in summary["triggers"] if line["component"] == "full_system"}
    assert set(lines) == {"three", "spread"}
    (firing,) = lines["three"]["firings"]
    # The last second evaluated is two, the lateness, before the last sample.
    assert (firing["fired"], firing["ended"], firing["firing_s"]) == ("2026-01-01T00:00:17Z", None, 40)
    assert firing["action"] == {"kind": "rollback", "target": "full_system"}


def test_too_few_or_too_far_apart_fire_nothing() -> None:
    for breaches in ({"a": (10, 40), "b": (12, 40)}, {"a": (10, 40), "b": (12, 40), "c": (21, 40)}):
        shown, result = _backtest(_samples(**breaches))
        assert [entry for entry in shown if entry["trigger"] == "three"] == []
    assert "spread" in result.stderr
