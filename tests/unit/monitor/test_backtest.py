"""``backout triggers backtest`` and ``check`` as people run them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chassis.errors import ConfigErrors, UsageError
from cli.triggers import app
from tests.unit.monitor.engine_log import T0
from tests.unit.monitor.workspace import enter

RULES = "triggers: [{name: slow, metric: ms, when: '> 100', for: 3s, staleness: 10s}]\n"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration directory and a working directory with one trigger file."""
    return enter(tmp_path, monkeypatch, RULES)


def _sample(component: str, second: int, value: object, metric: str = "ms") -> str:
    fields = {"metric": metric, "component": component, "value": value, "time": T0 + second}
    return json.dumps(fields)


def _backtest(directory: Path, lines: list[str], *arguments: str) -> tuple[list[dict[str, Any]], Result]:
    (directory / "samples.jsonl").write_text("\n".join(lines) + "\n")
    result = CliRunner().invoke(
        app, ["backtest", "--rules", "rules.yml", "--input", "samples.jsonl", *arguments]
    )
    return [json.loads(line) for line in result.stdout.splitlines()], result


def test_one_object_a_transition(directory: Path) -> None:
    values = [50, 150, 150, 150, 150, 150, 50, 50, 50, 50]
    transitions, result = _backtest(directory, [_sample("a", at, value) for at, value in enumerate(values)])
    assert result.exit_code == 0
    began = {"began": "2026-01-01T00:00:01Z", "id": "slow:a:20260101T000001Z"}
    common = {"trigger": "slow", "group": {"component": "a"}, "threshold": 100.0, **began}
    assert transitions == [
        {
            **common,
            "at": "2026-01-01T00:00:01Z",
            "from": "inactive",
            "to": "pending",
            "reason": "breach_began",
            "value": 150.0,
        },
        {
            **common,
            "at": "2026-01-01T00:00:04Z",
            "from": "pending",
            "to": "firing",
            "reason": "breach_lasted",
            "value": 150.0,
        },
        {
            **common,
            "at": "2026-01-01T00:00:06Z",
            "from": "firing",
            "to": "inactive",
            "reason": "breach_ended",
            "value": 50.0,
        },
    ]
    assert "10 samples, 0 late, 0 unreadable; 3 transitions" in result.stderr


def test_each_component_is_a_partition_of_its_own(directory: Path) -> None:
    """One component's samples move no other's time, in whatever order the file has them."""
    first = [_sample("a", at, 150) for at in range(6)]
    second = [_sample("b", at, 150) for at in range(6)]
    whole, _ = _backtest(directory, first + second)
    mixed, _ = _backtest(directory, [line for pair in zip(first, second, strict=True) for line in pair])
    assert whole == mixed
    assert {entry["group"]["component"] for entry in whole} == {"a", "b"}


def test_until_is_the_last_clock_record(directory: Path) -> None:
    lines = [_sample("a", at, 150) for at in range(3)]
    assert [entry["to"] for entry in _backtest(directory, lines)[0]] == ["pending"]
    until = "2026-01-01T00:00:30Z"
    assert [entry["to"] for entry in _backtest(directory, lines, "--until", until)[0]] == [
        "pending",
        "firing",
    ]
    seconds = str(T0 + 30)
    assert [entry["to"] for entry in _backtest(directory, lines, "--until", seconds)[0]] == [
        "pending",
        "firing",
    ]


def test_bad_lines_are_named_and_the_good_ones_count(directory: Path) -> None:
    good = [_sample("a", at, 150) for at in range(9)]
    lines = [*good[:2], "{", "", _sample("a", 2, "x"), *good[2:]]
    batch = {"component": "a", "samples": [{"metric": "ms", "value": 1, "time": T0 + 9}, {"metric": "ms"}]}
    transitions, result = _backtest(directory, [*lines, json.dumps(batch)])
    assert result.exit_code == 0
    assert [entry["to"] for entry in transitions] == ["pending", "firing"]
    assert "line 3: invalid_json:" in result.stderr
    assert "line 5: invalid_sample: Expected `float`, got `str` - at `$.value`" in result.stderr
    assert f"line {len(lines) + 1}, sample 1: invalid_sample:" in result.stderr


def test_nothing_readable_is_a_failure(directory: Path) -> None:
    transitions, result = _backtest(directory, ["{", "x"])
    assert (transitions, result.exit_code) == ([], 1)


def test_an_empty_file_has_no_transitions(directory: Path) -> None:
    transitions, result = _backtest(directory, [""])
    assert (transitions, result.exit_code) == ([], 0)


def test_the_output_file_is_written_whole(directory: Path) -> None:
    _, result = _backtest(directory, [_sample("a", at, 150) for at in range(9)], "--output", "out.jsonl")
    assert result.exit_code == 0
    written = (directory / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["to"] for line in written] == ["pending", "firing"]
    assert sorted(path.name for path in directory.glob("out*")) == ["out.jsonl"]


def test_a_form_of_output_is_not_taken_for_a_file(directory: Path) -> None:
    _, result = _backtest(directory, [_sample("a", 0, 1)], "--output", "json")
    assert isinstance(result.exception, UsageError)
    assert "--output json: here it names a file" in str(result.exception)
    assert not (directory / "json").exists()


@pytest.mark.parametrize("until", ["tomorrow", "2026-01-01T00:00:00", "nan", "inf", "-1", "1e300"])
def test_a_wrong_until_is_named(directory: Path, until: str) -> None:
    _, result = _backtest(directory, [_sample("a", 0, 1)], "--until", until)
    assert isinstance(result.exception, UsageError)
    assert until in str(result.exception)
    assert result.exception.exit_code == 2


def test_the_end_of_time_is_reached_quickly(directory: Path) -> None:
    """A firing trigger, silence until the year 9999, and a sample of that time."""
    last = "9999-12-31T23:59:59Z"
    began = time.process_time()
    for lines, until in (([], ["--until", last]), ([_sample("a", 253_402_300_000 - T0, 50)], [])):
        transitions, result = _backtest(directory, [_sample("a", at, 150) for at in range(6)] + lines, *until)
        assert result.exit_code == 0
        assert [entry["to"] for entry in transitions][:2] == ["pending", "firing"]
    assert time.process_time() - began < 2.0


def test_check_names_every_mistake(directory: Path) -> None:
    (directory / "bad.yml").write_text("triggers: [{name: a, metric: m, when: x}]\n")
    result = CliRunner().invoke(app, ["check", "rules.yml", "bad.yml"])
    assert isinstance(result.exception, ConfigErrors)
    assert "bad.yml:1" in str(result.exception)
    assert result.exception.exit_code == 2


@pytest.mark.usefixtures("directory")
def test_check_shows_what_was_read() -> None:
    result = CliRunner().invoke(app, ["check", "rules.yml"])
    assert result.exit_code == 0
    assert "rules.yml:1: slow: ms > 100 for 3s (high) → rollback {component}" in result.stdout


RELEASED = """\
triggers:
  - {name: slow, metric: ms, when: '> 50%', staleness: 10s, baseline: {window: 1m}, only_within: 10s}
  - {name: routes, metric: ms, when: '> 1000', staleness: 10s, group_by: [component, route], max_groups: 1}
"""


def _released(component: str, second: int) -> str:
    return json.dumps({"release": {"component": component, "time": T0 + second, "version": "2"}})


def test_lines_may_be_releases(directory: Path) -> None:
    (directory / "rules.yml").write_text(RELEASED)
    lines = [_sample("a", at, 100) for at in range(20)]
    lines += [_released("a", 20), _released("b", 20), *(_sample("a", at, 160) for at in range(20, 40))]
    transitions, result = _backtest(directory, lines)
    assert result.exit_code == 0
    assert [(each["at"][-3:-1], each["to"], each["reason"]) for each in transitions] == [
        ("20", "firing", "breach_began"),
        ("30", "inactive", "release_too_old"),
    ]
    assert transitions[0]["value"] == pytest.approx(0.6)
    assert "40 samples, 0 late, 0 unreadable; 2 transitions" in result.stderr


def test_groups_that_are_not_evaluated_are_named(directory: Path) -> None:
    (directory / "rules.yml").write_text(RELEASED)
    routes = [
        json.dumps({**json.loads(_sample("a", at, 2000)), "labels": {"route": f"/{at}"}}) for at in range(5)
    ]
    transitions, result = _backtest(directory, routes, "--summary-json", "summary.json")
    assert {each["group"]["route"] for each in transitions} == {"/0"}
    assert "rules.yml:3: routes has more than 1 groups (`max_groups`): a, route '/1' at " in result.stderr
    summary = json.loads((directory / "summary.json").read_text())
    overflow = {"trigger": "routes", "group": {"component": "a", "route": "/1"}, "at": "2026-01-01T00:00:01Z"}
    assert summary["overflows"] == [overflow]
    watched = [line["group"] for line in summary["triggers"] if line["trigger"] == "routes"]
    assert watched == [{"component": "a", "route": "/0"}]


def test_a_release_that_cannot_be_read_is_named(directory: Path) -> None:
    lines = [_sample("a", 0, 1), '{"release": {"component": "a"}}']
    lines.append('{"release": {"component": "a b", "time": 1}}')
    _, result = _backtest(directory, lines)
    assert "line 2: invalid_release: Object missing required field `time`" in result.stderr
    assert "line 3: invalid_release: component 'a b'" in result.stderr
