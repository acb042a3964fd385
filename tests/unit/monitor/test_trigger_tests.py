"""``backout triggers test`` as people run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chassis.errors import ConfigErrors
from cli.triggers import app
from tests.unit.monitor.workspace import enter

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / "config" / "rollback" / "tests").glob("*.yml"))
RULES = """\
triggers:
  - {name: slow, metric: ms, when: "> 100", for: 30s, staleness: 30s, min_samples: 3}
  - {name: average, metric: ms, aggregate: avg, window: 1m, when: "> 100"}
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter(tmp_path, monkeypatch, RULES)


def _run(directory: Path, body: str, *arguments: str) -> Result:
    (directory / "tests").mkdir(exist_ok=True)
    (directory / "tests" / "t.yml").write_text("rule_files: [../rules.yml]\ntests:\n" + body)
    return CliRunner().invoke(app, ["test", "tests/t.yml", *arguments])


SERIES = "    input_series: [{metric: ms, component: a, values: '50x2 150x4 50'}]\n"
GOOD = f"""\
  - name: good
    interval: 10s
{SERIES}    expect:
      - {{at: 20s, trigger: slow, component: a, phase: pending, value: 150}}
      - {{at: 50s, trigger: slow, component: a, phase: firing}}
      - {{at: 60s, trigger: slow, component: a, phase: inactive}}
      - {{at: 50s, trigger: average, component: a, phase: firing, value: 116.66666666666667}}
    expect_transitions:
      - {{at: 20s, trigger: slow, component: a, from: inactive, to: pending, reason: breach_began}}
      - {{at: 50s, trigger: slow, component: a, from: pending, to: firing}}
      - {{at: 60s, trigger: slow, component: a, to: inactive}}
"""


def test_the_shipped_tests_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("BACKOUT_CONFIG_DIR", raising=False)
    result = CliRunner().invoke(app, ["test", *map(str, SHIPPED)])
    assert (result.exit_code, "0 failed" in result.stdout) == (0, True), result.stdout


def test_a_line_a_test(directory: Path) -> None:
    result = _run(directory, GOOD)
    assert result.exit_code == 0, result.stdout
    assert "ok   tests/t.yml:3: good" in result.stdout
    assert "1 passed, 0 failed" in result.stdout


def test_a_failure_says_what_was_found_and_why(directory: Path) -> None:
    on_time = "{at: 50s, trigger: slow, component: a, phase"
    result = _run(directory, GOOD.replace(on_time, on_time.replace("50s", "49s")))
    assert result.exit_code == 1
    assert "FAIL tests/t.yml:3: good" in result.stdout
    assert "tests/t.yml:8" in result.stdout
    assert "- expected 49s slow of a: firing" in result.stdout
    assert "+ found    pending" in result.stdout
    assert "(breach_began)" in result.stdout
    assert "breaching for 29s; `for` is 30s, `min_samples` 3" in result.stdout


def test_a_wrong_value_and_no_data_are_told(directory: Path) -> None:
    body = GOOD.replace("116.66666666666667", "null").replace("value: 150", "value: 151")
    result = _run(directory, body)
    assert result.exit_code == 1
    assert "firing, value no data" in result.stdout
    assert "pending, value 151" in result.stdout
    assert "pending, value 150" in result.stdout


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (", reason: breach_began", ", reason: breach_lasted", "no such transition"),
        ("      - {at: 60s, trigger: slow, component: a, to: inactive}\n", "", "no further transition"),
    ],
)
def test_transitions_are_exactly_those(directory: Path, old: str, new: str, words: str) -> None:
    result = _run(directory, GOOD.replace(old, new))
    assert result.exit_code == 1
    assert words in result.stdout


def test_no_transition_at_all(directory: Path) -> None:
    body = f"  - name: none\n    interval: 10s\n{SERIES}    expect_transitions: []\n"
    result = _run(directory, body)
    assert result.exit_code == 1
    assert result.stdout.count("no further transition") == 4
    quiet = body.replace("150x4", "50x4")
    assert _run(directory, quiet).exit_code == 0


def test_time_passes_to_the_last_expectation(directory: Path) -> None:
    body = f"""\
  - name: silence
    interval: 10s
{SERIES.replace(" 50'", "'")}    expect:
      - {{at: 10m, trigger: slow, component: a, phase: firing, value: null}}
"""
    assert _run(directory, body).exit_code == 0


def test_json_for_programs(directory: Path) -> None:
    result = _run(directory, GOOD.replace("value: 150}", "value: 151}"), "-o", "json")
    answer: dict[str, Any] = json.loads(result.stdout)
    assert (answer["passed"], answer["failed"], result.exit_code) == (0, 1, 1)
    (failure,) = answer["tests"][0]["failures"]
    assert failure["place"] == "tests/t.yml:7"
    assert failure["found"] == "pending, value 150"


def test_every_mistake_is_named_with_its_line(directory: Path) -> None:
    body = """\
  - name: wrong
    interval: 0s
    input_series:
      - {metric: ms, component: a, values: "1x"}
      - {metric: ms, component: "a b", values: 5}
      - {metric: ms, component: b, values: 5}
    expect:
      - {at: later, trigger: slow, component: b, phase: firing}
      - {at: 1m, trigger: slwo, component: b, phase: firing}
      - {at: 1m, trigger: slow, component: c, phase: firing}
      - {at: 1m, trigger: slow, component: b, phase: on}
      - {at: 1m, trigger: slow, component: b, phase: firing, vlaue: 1}
    expect_transitions:
      - {at: 1m, trigger: slow, component: b, to: firing, reason: because}
  - name: empty
    input_series: [{metric: ms, component: a, values: 1}]
"""
    result = _run(directory, body)
    assert isinstance(result.exception, ConfigErrors)
    text = str(result.exception)
    for line, words in [
        (4, "no time at all"),
        (6, "'1x' is not a number"),
        (7, "letters, digits"),
        (10, "'later' is not a duration"),
        (11, "Did you mean 'slow'?"),
        (12, "no input series is of the component 'c'"),
        (13, "where a text is needed"),
        (14, "Did you mean 'value'?"),
        (16, "'because' is not known"),
        (17, "expects nothing"),
    ]:
        assert any(each.startswith(f"tests/t.yml:{line}:") and words in each for each in text.splitlines()), (
            line,
            words,
            text,
        )
    assert result.exception.exit_code == 2


def test_a_list_without_a_phase_expects_nothing(directory: Path) -> None:
    nothing = f"  - name: x\n{SERIES}    expect: []\n"
    result = _run(directory, nothing)
    assert isinstance(result.exception, ConfigErrors)
    assert "expects nothing" in str(result.exception)
    assert "1 failed" in _run(directory, f"{nothing}    expect_transitions: []\n").stdout
    wrong = _run(directory, f"  - name: x\n{SERIES}    expect: now\n")
    assert "where a list is needed" in str(wrong.exception)
    assert wrong.exit_code == 1


def test_a_wrong_trigger_file_is_named(directory: Path) -> None:
    (directory / "rules.yml").write_text("triggers: [{name: slow}]\n")
    result = _run(directory, GOOD)
    assert isinstance(result.exception, ConfigErrors)
    assert "rules.yml:1" in str(result.exception)


def test_a_test_may_say_when_a_release_was(directory: Path) -> None:
    (directory / "rules.yml").write_text(
        "triggers:\n"
        "  - {name: slow, metric: ms, when: '> 50%', staleness: 30s, baseline: {}, only_within: 40s}\n"
    )
    body = """\
  - name: slower than before
    interval: 10s
    input_series: [{metric: ms, component: a, values: '100x6 160x10'}]
    releases: [{component: a, at: 1m, version: "2"}]
    expect_transitions:
      - {at: 1m, trigger: slow, component: a, to: firing}
      - {at: 1m40s, trigger: slow, component: a, to: inactive, reason: release_too_old}
"""
    result = _run(directory, body)
    assert (result.exit_code, "0 failed" in result.stdout) == (0, True), result.stdout
    assert _run(directory, body.replace("at: 1m,", "at: 30s,")).exit_code == 1
    result = _run(directory, body.replace("{component: a, at", "{component: b, at"))
    assert isinstance(result.exception, ConfigErrors)
    assert "no input series is of the component 'b'" in str(result.exception)


def test_a_ratio_may_be_compared_with_itself_before_a_release(directory: Path) -> None:
    (directory / "rules.yml").write_text("""\
triggers:
  - name: worse
    any:
      - {ratio: {of: errors, to: requests}, aggregate: rate, window: 1m, when: "> 50%", baseline: {}}
      - {metric: up, when: "== 0"}
    for: 30s
""")
    body = """\
  - name: more errors than before
    interval: 10s
    input_series:
      - {metric: errors, component: a, values: '0+1x60 62+2x30'}
      - {metric: requests, component: a, values: '0+100x90'}
    releases: [{component: a, at: 10m}]
    expect_transitions:
      - {at: 10m30s, trigger: worse, component: a, to: pending}
      - {at: 11m, trigger: worse, component: a, to: firing}
"""
    result = _run(directory, body)
    assert (result.exit_code, "0 failed" in result.stdout) == (0, True), result.stdout
    assert _run(directory, body.replace("at: 10m}", "at: 14m}")).exit_code == 1
