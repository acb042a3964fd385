"""Reports in a backtest over files: a file of their own, or lines among the samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from chassis.errors import ConfigErrors
from cli.triggers import app
from schemas.envelope import make_event
from schemas.reports import ReportEvent
from services.monitor.domain.engine.outcomes import rfc3339, utc
from tests.unit.monitor.compound.members import T0
from tests.unit.monitor.workspace import enter

RULES = """\
triggers: [{name: slow, metric: ms, when: "> 100", for: 3s, staleness: 10s}]
compound_triggers:
  - {name: corrupted, report: data_corruption, immediate: true}
  - {name: either, report: [data_corruption, security_breach]}
"""


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration and a working directory."""
    enter(tmp_path, monkeypatch, RULES)


def _samples() -> list[dict[str, Any]]:
    return [
        {"metric": "ms", "component": "api", "value": 150 if 20 <= at < 40 else 50, "time": T0 + at}
        for at in range(0, 1_000, 2)
    ]


def _report(name: str, at: float, kind: str = "data_corruption") -> str:
    when = utc(T0 + int(at)).replace(microsecond=round(at % 1 * 1e6))
    data = ReportEvent.model_validate(
        {"kind": kind, "component": "vectors", "at": when, "reported_by": "ops", "reason": f"seen by {name}"}
    )
    event = make_event(
        data, event_id=name, source="/test", time=when, subject="vectors", correlationid=name
    )  # fmt: skip
    return event.to_bytes().decode()


REPORTS = [
    _report("one", 30.5),
    _report("two", 100),
    _report("two", 100),
    _report("breach", 400, "security_breach"),
]


def _write(name: str, *lines: str | dict[str, Any]) -> None:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    Path(name).write_text("\n".join(texts) + "\n")


def _backtest(samples: str, *more: str) -> tuple[list[dict[str, Any]], Result]:
    result = CliRunner().invoke(app, ["backtest", "--rules", "rules.yml", "--input", samples, *more])
    return [json.loads(line) for line in result.stdout.splitlines()], result


def _told(shown: list[dict[str, Any]]) -> list[tuple[str, int, str, str]]:
    seconds = {rfc3339(T0 + at): at for at in range(2_000)}
    return [
        (each["trigger"], seconds[each["at"]], each["to"], each["reason"])
        for each in shown
        if each["trigger"] != "slow"
    ]


EXPECTED = [
    ("corrupted", 30, "firing", "reported"),
    ("either", 30, "firing", "reported"),
    ("corrupted", 700, "inactive", "report_expired"),
]


def test_they_decide_as_live_in_a_file_or_among_the_samples() -> None:
    _write("samples.jsonl", *_samples())
    _write("reports.jsonl", *REPORTS)
    found, result = _backtest("samples.jsonl", "--reports", "reports.jsonl")
    assert result.exit_code == 0, result.output
    assert _told(found) == EXPECTED
    assert [each["at"] for each in found] == sorted(each["at"] for each in found)
    assert [each["trigger"] for each in found][:4] == ["slow", "slow", "corrupted", "either"]
    fired = found[2]
    assert (fired["value"], fired["members"]) == (1.0, ["one"])
    assert fired["id"].startswith("corrupted:full_system-")
    assert "reports decide, and there are none" not in result.stderr
    samples = _samples()
    _write("both.jsonl", REPORTS[0], *samples[:300], REPORTS[3], REPORTS[1], *samples[300:], REPORTS[2])
    among, result = _backtest("both.jsonl")
    assert result.exit_code == 0, result.output
    assert among == found
    assert "500 samples, 0 late, 0 unreadable" in result.stderr


def test_time_passes_until_the_end_of_what_was_recorded_or_as_long_as_is_said() -> None:
    _write("samples.jsonl", *_samples()[:50])
    _write("reports.jsonl", *REPORTS)
    assert _told(_backtest("samples.jsonl", "--reports", "reports.jsonl")[0]) == EXPECTED[:2]
    until = ("--until", str(T0 + 1_500))
    assert _told(_backtest("samples.jsonl", "--reports", "reports.jsonl", *until)[0]) == [
        *EXPECTED,
        ("either", 1_000, "inactive", "report_expired"),
    ]


def test_the_summary_has_them() -> None:
    _write("samples.jsonl", *_samples())
    _write("reports.jsonl", *REPORTS)
    _, result = _backtest("samples.jsonl", "--reports", "reports.jsonl", "--summary-json", "summary.json")
    lines = {line["trigger"]: line for line in json.loads(Path("summary.json").read_text())["triggers"]}
    assert [len(lines[name]["firings"]) for name in ("slow", "corrupted", "either")] == [1, 1, 1]
    assert (lines["corrupted"]["firings"][0]["firing_s"], lines["either"]["firings"][0]["ended"]) == (
        670,
        None,
    )
    assert "rollback full_system, without gates" in result.stderr


def test_beside_parquet() -> None:
    samples = _samples()
    columns = {name: [each[name] for each in samples] for name in ("metric", "component", "value", "time")}
    pq.write_table(pa.table(columns), "samples.parquet")
    _write("samples.jsonl", *samples)
    _write("reports.jsonl", *REPORTS)
    expected, _ = _backtest("samples.jsonl", "--reports", "reports.jsonl")
    assert _backtest("samples.parquet", "--reports", "reports.jsonl")[0] == expected
    assert _told(_backtest("samples.parquet")[0]) == []


def test_what_is_no_report_is_named() -> None:
    event = json.loads(REPORTS[0])
    wrong = [
        {"kind": "data_corruption", "component": "vectors"},
        event | {"data": event["data"] | {"kind": "fire"}},
        event | {"type": "io.backout.unknown.thing.v1"},
    ]
    _write("samples.jsonl", *_samples())
    _write("reports.jsonl", REPORTS[0], "", *wrong, "not JSON")
    found, result = _backtest("samples.jsonl", "--reports", "reports.jsonl")
    assert found == []
    assert isinstance(result.exception, ConfigErrors)
    places = [error.place for error in result.exception.errors]
    assert places == [f"reports.jsonl:{number}" for number in (3, 4, 5, 6)]
    assert "it has no `specversion`" in result.exception.errors[0].problem
    assert "data.kind" in result.exception.errors[1].problem
    _write("both.jsonl", *_samples()[:5], wrong[1], REPORTS[0], *_samples()[5:])
    found, result = _backtest("both.jsonl")
    assert [told[:2] for told in _told(found)][:2] == [("corrupted", 30), ("either", 30)]
    assert "line 6: invalid_event: data.kind" in result.stderr
    assert "1 unreadable" in result.stderr


def test_they_are_explained_from_a_file_or_among_the_samples() -> None:
    _write("samples.jsonl", *_samples())
    _write("reports.jsonl", *REPORTS)
    _write("both.jsonl", REPORTS[0], *_samples(), *REPORTS[1:])

    def explain(*arguments: str) -> Any:
        common = ["explain", "--rules", "rules.yml", "-o", "json", *arguments]
        result = CliRunner().invoke(app, common)
        assert result.exit_code == 0, result.output + repr(result.exception)
        return json.loads(result.stdout)

    question = ("--trigger", "corrupted", "--since", rfc3339(T0), "--until", rfc3339(T0 + 60))
    found = explain(*question, "--input", "samples.jsonl", "--reports", "reports.jsonl")
    assert (found["fired"], found["fired_at"], found["from"]) == (True, rfc3339(T0 + 30), "reports.jsonl")
    assert [each["id"] for each in found["reports"]] == ["one"]
    among = explain(*question, "--input", "both.jsonl")
    assert {**among, "from": ""} == {**found, "from": ""}
    by_id = explain(found["id"], "--input", "both.jsonl")
    assert (by_id["fired_at"], by_id["ended_at"]) == (found["fired_at"], rfc3339(T0 + 700))
    # It fires in the second in which it was reported, and is told then.
    at_once = explain("--trigger", "corrupted", "--at", rfc3339(T0 + 30), "--input", "both.jsonl")
    assert (at_once["fired"], [each["id"] for each in at_once["reports"]]) == (True, ["one"])
    none = explain(*question, "--input", "samples.jsonl")
    assert none["notes"] == ["samples.jsonl holds no reports; --reports names a file with some"]
