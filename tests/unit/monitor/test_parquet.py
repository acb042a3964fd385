"""A backtest over a Parquet file says what one over the same JSON lines says."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from chassis.errors import ConfigError, UsageError
from cli.triggers import app
from services.monitor.adapters import parquet_columns
from tests.unit.monitor.engine_log import T0
from tests.unit.monitor.workspace import enter

RULES = """\
triggers:
  - {name: slow, metric: ms, when: "> 100", for: 20s, staleness: 40s, min_samples: 2}
  - {name: p95, metric: ms, aggregate: p95, window: 1m, when: "> 140", for: 10s}
  - {name: errors, metric: errors, aggregate: sum, window: 1m, when: ">= 5", no_data: ok}
"""
Row = tuple[str | None, str | None, float | None, float | None]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter(tmp_path, monkeypatch, RULES)


def _rows() -> list[Row]:
    chance = random.Random(3)  # noqa: S311
    rows: list[Row] = []
    for at in range(0, 4_000, 5):
        for component in "abc":
            late = chance.choice([0.0] * 20 + [30.0])
            value = round(100 + 80 * math.sin(at / 150) + chance.uniform(-30, 30), 3)
            rows.append(("ms", component, value, T0 + at + 0.25 - late))
            if chance.random() < 0.3:
                rows.append(("errors", component, float(chance.randrange(4)), float(T0 + at)))
            rows.append(("unwatched", component, 1.0, float(T0 + at)))
    return rows


def _write_lines(rows: list[Row]) -> None:
    names = ("metric", "component", "value", "time")
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    Path("samples.jsonl").write_text("\n".join(lines) + "\n")


def _write_parquet(rows: list[Row], time: pa.DataType | None = None, **more: Any) -> None:
    metric, component, value, at = (list(column) for column in zip(*rows, strict=True))
    times = pa.array(at, pa.float64())
    if time is not None:
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[time.unit]
        times = pa.array([None if each is None else round(each * per_second) for each in at], pa.int64())
        times = times.cast(time)
    table = pa.table({"metric": metric, "value": value, "component": component, "time": times, "extra": at})
    pq.write_table(table, "samples.parquet", **more)


def _backtest(name: str, *arguments: str) -> tuple[list[dict[str, Any]], Result]:
    result = CliRunner().invoke(app, ["backtest", "--rules", "rules.yml", "--input", name, *arguments])
    return [json.loads(line) for line in result.stdout.splitlines()], result


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("unit", [None, "ms", "us", "ns"])
def test_the_same_as_json_lines(unit: str | None) -> None:
    rows = _rows()
    _write_lines(rows)
    _write_parquet(rows, None if unit is None else pa.timestamp(unit, tz="Europe/Berlin"), row_group_size=97)
    until = ("--until", str(T0 + 5_000))
    lines, lines_result = _backtest("samples.jsonl", *until, "--summary-json", "lines.json")
    parquet, parquet_result = _backtest("samples.parquet", *until, "--summary-json", "parquet.json")
    assert parquet_result.exit_code == 0, parquet_result.stderr
    assert len(lines) > 20
    assert parquet == lines
    assert json.loads(Path("parquet.json").read_text()) == json.loads(Path("lines.json").read_text())
    assert parquet_result.stderr == lines_result.stderr


@pytest.mark.usefixtures("directory")
def test_rows_that_are_no_samples_are_named() -> None:
    rows = _rows()
    bad: list[Row] = [
        (None, "a", 1.0, float(T0)),
        ("ms", None, 1.0, float(T0)),
        ("ms", "a", None, float(T0)),
        ("ms", "a", 1.0, None),
        ("ms", "a", math.nan, float(T0)),
        ("ms", "a", math.inf, float(T0)),
        ("ms", "a", 1.0, T0 * 1000.0),
        ("ms", "a", 1.0, -1.0),
        ("ms", "a b", 1.0, float(T0)),
        ("", "a", 1.0, float(T0)),
    ]
    _write_parquet([*bad, *rows])
    _write_lines(rows)
    found, result = _backtest("samples.parquet")
    assert found == _backtest("samples.jsonl")[0]
    for row, words in enumerate(
        [
            "no `metric`",
            "no `component`",
            "no `value`",
            "no `time`",
            "no finite number",
            "no finite number",
            "is it in seconds?",
            "outside the years",
            "is not a good name",
            "is not a good name",
        ],
        start=1,
    ):
        assert any(line.startswith(f"row {row}:") and words in line for line in result.stderr.splitlines()), (
            row
        )
    assert f"{len(bad)} unreadable" in result.stderr


@pytest.mark.usefixtures("directory")
def test_rows_by_series_are_sorted_on_request() -> None:
    rows = [row for row in _rows() if row[3] is not None]
    by_series = sorted(rows, key=lambda row: (str(row[0]), str(row[1])))
    in_time = sorted(by_series, key=lambda row: row[3] or 0.0)
    _write_lines(in_time)
    expected, _ = _backtest("samples.jsonl")
    _write_parquet(by_series)
    found, result = _backtest("samples.parquet")
    assert found != expected
    assert "Many samples are late" in result.stderr
    found, result = _backtest("samples.parquet", "--by-time")
    assert "Many samples are late" not in result.stderr
    assert found == expected


@pytest.mark.usefixtures("directory")
def test_a_timestamp_without_a_zone_is_refused_unless_it_is_said_to_be_utc() -> None:
    rows = _rows()
    _write_parquet(rows, pa.timestamp("us"))
    _, result = _backtest("samples.parquet")
    assert isinstance(result.exception, ConfigError)
    assert "without a time zone" in str(result.exception)
    assert "--assume-utc" in str(result.exception)
    _write_lines(rows)
    assert _backtest("samples.parquet", "--assume-utc")[0] == _backtest("samples.jsonl")[0]


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"metric": ["ms"], "component": ["a"], "value": [1.0]}, "has no column 'time'"),
        ({"metric": ["ms"], "value": [1.0], "time": [1.0]}, "has no column 'component'"),
        ({"metric": ["ms"], "component": ["a"], "value": ["1"], "time": [1.0]}, "'value' is string"),
        ({"metric": [1], "component": ["a"], "value": [1.0], "time": [1.0]}, "'metric' is int64"),
        ({"metric": ["ms"], "component": ["a"], "value": [1.0], "time": ["now"]}, "'time' is string"),
    ],
)
def test_a_wrong_column_is_named(columns: dict[str, list[Any]], words: str) -> None:
    pq.write_table(pa.table(columns), "samples.parquet")
    _, result = _backtest("samples.parquet")
    assert isinstance(result.exception, ConfigError)
    assert words in str(result.exception)
    assert "samples.parquet" in str(result.exception)


@pytest.mark.usefixtures("directory")
def test_a_broken_file_is_named() -> None:
    Path("samples.parquet").write_bytes(b"PAR1 and nothing more")
    _, result = _backtest("samples.parquet")
    assert isinstance(result.exception, UsageError)
    assert "cannot read samples.parquet" in str(result.exception)


@pytest.mark.usefixtures("directory")
def test_an_empty_file_has_no_transitions() -> None:
    names = ("metric", "component", "value", "time")
    kinds = (pa.string(), pa.string(), pa.float64(), pa.float64())
    pq.write_table(pa.schema(list(zip(names, kinds, strict=True))).empty_table(), "samples.parquet")
    found, result = _backtest("samples.parquet")
    assert (found, result.exit_code) == ([], 0)


@pytest.mark.usefixtures("directory")
def test_options_of_parquet_are_refused_for_lines() -> None:
    _write_lines(_rows()[:3])
    for option in ("--by-time", "--assume-utc"):
        _, result = _backtest("samples.jsonl", option)
        assert isinstance(result.exception, UsageError)


@pytest.mark.usefixtures("directory")
def test_without_pyarrow_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _write_parquet(_rows()[:3])
    monkeypatch.setattr(parquet_columns, "find_spec", lambda _name: None)
    _, result = _backtest("samples.parquet")
    assert isinstance(result.exception, UsageError)
    assert "pip install 'backout[parquet]'" in str(result.exception)


@pytest.mark.usefixtures("directory")
def test_explained_as_from_json_lines() -> None:
    rows = _rows()
    _write_lines(rows)
    _write_parquet(rows, pa.timestamp("us", tz="UTC"))
    fired = next(each for each in _backtest("samples.jsonl")[0] if each["to"] == "firing")
    answers = []
    for name in ("samples.jsonl", "samples.parquet"):
        arguments = ["explain", fired["id"], "--input", name, "--rules", "rules.yml", "-o", "json"]
        answer = json.loads(CliRunner().invoke(app, arguments).stdout)
        assert answer.pop("samples_from") == name
        answers.append(answer)
    assert answers[0]["fired"] is True
    assert answers[0]["would_turn_it"]
    assert answers[0] == answers[1]


@pytest.mark.usefixtures("directory")
def test_explained_however_the_file_has_its_times_and_its_order() -> None:
    rows = sorted(_rows(), key=lambda row: row[3] or 0.0)
    _write_lines(rows)
    fired = next(each for each in _backtest("samples.jsonl")[0] if each["to"] == "firing")
    _write_parquet(sorted(rows, key=lambda row: row[:2]), pa.timestamp("us"))
    arguments = ["explain", fired["id"], "--rules", "rules.yml", "-o", "json", "--input"]
    answers = []
    for options in (["samples.jsonl"], ["samples.parquet", "--by-time", "--assume-utc"]):
        answer = json.loads(CliRunner().invoke(app, [*arguments, *options]).stdout)
        answers.append([answer["fired"], answer["would_turn_it"]])
    assert answers[0] == answers[1]
    refused = CliRunner().invoke(app, [*arguments[:-1], "--by-time"])
    assert isinstance(refused.exception, UsageError)


LABELLED = """\
triggers:
  - {name: slow, metric: ms, when: "> 100", for: 20s, staleness: 40s, group_by: [component, zone, host]}
  - {name: web, metric: ms, aggregate: p95, window: 1m, when: "> 140", matchers: [host=~"web.*"]}
"""


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("kind", ["map", "struct"])
def test_labels_are_read_from_a_map_or_a_struct(kind: str) -> None:
    """Rows without labels, or without one of them, count as in JSON lines."""
    chance = random.Random(4)  # noqa: S311
    rows = [row for row in _rows() if row[0] != "errors"]
    labels: list[dict[str, str]] = []
    for _ in rows:
        given = {"zone": chance.choice("xy"), "host": chance.choice(["web-1", "db"]), "other": "z"}
        labels.append({} if chance.random() < 0.1 else dict(list(given.items())[: chance.randint(1, 3)]))
    Path("rules.yml").write_text(LABELLED)
    names = ("metric", "component", "value", "time")
    lines = [
        json.dumps(dict(zip(names, row, strict=True)) | {"labels": given})
        for row, given in zip(rows, labels, strict=True)
    ]
    Path("samples.jsonl").write_text("\n".join(lines) + "\n")
    metric, component, value, time = (list(column) for column in zip(*rows, strict=True))
    column = (
        pa.array([list(given.items()) for given in labels], pa.map_(pa.string(), pa.string()))
        if kind == "map"
        else pa.array(labels, pa.struct({name: pa.string() for name in ("zone", "host", "other")}.items()))
    )
    columns = {"metric": metric, "component": component, "value": value, "time": time, "labels": column}
    pq.write_table(pa.table(columns), "samples.parquet")
    expected, _ = _backtest("samples.jsonl")
    found, result = _backtest("samples.parquet")
    assert result.exit_code == 0, result.output
    assert {each["group"].get("zone") for each in expected} == {"x", "y", "", None}
    assert found == expected


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "has no column 'labels', and triggers or predictions read host, zone"),
        (["a"], "the column 'labels' is string, and triggers or predictions read host, zone"),
    ],
)
def test_labels_that_cannot_be_read_are_named(labels: list[str] | None, words: str) -> None:
    Path("rules.yml").write_text(LABELLED)
    columns: dict[str, Any] = {"metric": ["ms"], "component": ["a"], "value": [1.0], "time": [float(T0)]}
    pq.write_table(pa.table(columns if labels is None else columns | {"labels": labels}), "samples.parquet")
    _, result = _backtest("samples.parquet")
    assert isinstance(result.exception, ConfigError)
    assert words in str(result.exception)
