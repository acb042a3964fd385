"""``backout triggers explain`` of compound triggers, over a file of samples, as people run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chassis.errors import UsageError
from cli.triggers import app
from tests.unit.monitor.explain_workspace import enter_workspace, explain_json, run_explain

T0 = 1_767_225_600
RULES = """\
triggers:
  - {name: slow, metric: ms, when: "> 100", staleness: 20s, severity: critical}
  - {name: warm, metric: heat, when: "> 50", staleness: 20s, severity: low}
compound_triggers:
  - {name: three, at_least: 3 components, window: 1m, members: {severity: [critical]}}
  - {name: two, at_least: 2 components, window: 1m, members: {severity: [critical]}}
  - {name: corrupted, report: data_corruption}
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """a slow from 50 s on, b from 80 s on and c from 180 s on, each to the end of five minutes."""
    lines = []
    for at in range(0, 300, 10):
        for component, since in (("a", 50), ("b", 80), ("c", 180)):
            value = 150.0 if at >= since else 50.0
            lines.append({"metric": "ms", "component": component, "value": value, "time": T0 + at})
        lines.append(
            {"metric": "heat", "component": "d", "value": 60.0 if at >= 90 else 1.0, "time": T0 + at}
        )
    return enter_workspace(tmp_path, monkeypatch, RULES, ("\n".join(map(json.dumps, lines)) + "\n").encode())


RANGE = ("--since", "2026-01-01T00:01:00Z", "--until", "2026-01-01T00:04:30Z")


def test_why_it_did_not_fire_in_a_range() -> None:
    result = run_explain("--trigger", "three", *RANGE)
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert "three: not firing from 2026-01-01T00:01:00Z to 2026-01-01T00:04:30Z" in result.stdout
    assert "2 of 3 components came together: 1 is missing" in result.stdout
    assert "outside the window: 2m10s after the first, not 1m" in result.stdout
    assert "does not count: only severity critical does" in result.stdout
    assert "a `window` of 2m10s or more instead of 1m" in result.stdout
    assert "`at_least` 2 components or fewer instead of 3" in result.stdout
    assert "slow of c firing at 2026-01-01T00:01:50Z, 1m10s earlier" in result.stdout
    assert "members of every severity instead of those of severity critical" in result.stdout
    assert "another component firing at 2026-01-01T00:00:20Z at the earliest, at " in result.stdout


def test_a_firing_by_its_id() -> None:
    """The id is the backtest's."""
    arguments = [
        "backtest",
        "--rules",
        "config/rollback/triggers.yml",
        "--input",
        "samples.jsonl",
        "--no-summary",
    ]
    told = CliRunner().invoke(app, arguments)
    fired = next(
        each
        for each in map(json.loads, told.stdout.splitlines())
        if each["trigger"] == "two" and each["to"] == "firing"
    )
    answer = explain_json(fired["id"])
    assert (answer["fired"], answer["id"], answer["fired_at"]) == (True, fired["id"], fired["at"])
    assert (answer["together"], answer["needed"], answer["window_s"], answer["notes"]) == (2, 2, 60, [])
    assert [(each["component"], each["counts"]) for each in answer["members"]] == [
        ("a", True),
        ("b", True),
        ("d", False),
        ("c", False),
    ]
    turns = {(each["setting"], each["component"]): each for each in answer["would_turn_it"]}
    assert turns["window", None]["value"] == 29
    assert turns["at_least", None]["value"] == 3
    assert turns["member", "a"]["now"] == "2026-01-01T00:00:50Z"
    assert turns["member", "a"]["value"] is None
    text = run_explain(fired["id"]).stdout
    assert "two: fired at 2026-01-01T00:01:20Z and still does, as two:full_system-" in text
    assert "slow of a not firing (it fired at 2026-01-01T00:00:50Z)" in text


def test_an_id_that_these_samples_do_not_make_is_said() -> None:
    answer = explain_json("two:full_system-00000000:20260101T000050Z")
    assert any("has no firing two:full_system-00000000" in note for note in answer["notes"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--trigger", "three", "--component", "a", *RANGE), "leave --component and --label out"),
        (("--trigger", "three"), "give either --at, or --since (and --until)"),
        (("--trigger", "three", "--at", "2026-01-01T00:01:00Z", *RANGE), "give either --at, or --since"),
        (("--trigger", "three", RANGE[0], RANGE[3], RANGE[2], RANGE[1]), "is before --since"),
        (("two:full_system-0:20260101T000050Z", *RANGE), "give either an id or --trigger"),
        (("two:full_system-00000000:20269901T000050Z",), "is no time"),
    ],
)
def test_wrong_use_is_named(arguments: tuple[str, ...], words: str) -> None:
    result = run_explain(*arguments)
    assert isinstance(result.exception, UsageError), result.output
    assert words in str(result.exception)


def test_a_range_for_a_trigger_of_one_component() -> None:
    answer = explain_json("--trigger", "slow", "--component", "c", *RANGE)
    assert (answer["fired"], answer["since"]) == (True, "2026-01-01T00:01:00Z")
    quiet = run_explain(
        "--trigger", "slow", "--component", "c", RANGE[0], RANGE[1], RANGE[2], "2026-01-01T00:02:00Z"
    )
    assert "slow of c: not firing from 2026-01-01T00:01:00Z to 2026-01-01T00:02:00Z" in quiet.stdout
