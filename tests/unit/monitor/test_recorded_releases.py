"""Releases in a file of their own, beside samples in Parquet or JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from chassis.errors import BackoutError, ConfigErrors, UsageError
from cli.triggers import app
from schemas.metrics import Release, Sample, encode_batch, encode_release, epoch_seconds
from services.monitor.adapters.rule_files import load_rules
from services.monitor.domain.language.targets import Targets
from services.monitor.handlers.backtest import backtest_lines, transition_json
from tests.unit.monitor.engine_log import T0
from tests.unit.monitor.workspace import enter

RULES = """\
triggers:
  - {name: slower, metric: ms, aggregate: avg, window: 10s, baseline: {window: 2m}, when: "> 50%", for: 3s}
  - name: worse
    ratio: {of: errors, to: requests}
    aggregate: sum
    window: 30s
    baseline: {aggregate: p50, window: 2m}
    when: "> 50%"
  - {name: young, metric: ms, when: "> 150", only_within: 1m, group_by: [component, zone]}
"""
RELEASES = [
    ("a", T0 + 299.25, "2.1"),
    ("b", T0 + 400.0, None),
    ("a", T0 + 520.0, "2.2"),
    ("c", T0 + 9.0, "1"),
]


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration, and the same samples as JSON lines, with the releases among them, and as Parquet."""
    enter(tmp_path, monkeypatch, RULES)
    rows = _rows()
    _write_lines("samples.jsonl", rows)
    released = [
        {
            "release": {"component": component, "time": time}
            | ({} if version is None else {"version": version})
        }
        for component, time, version in RELEASES
    ]
    both = [*rows, *released]
    both.sort(key=lambda line: line["release"]["time"] if "release" in line else line["time"])
    _write_lines("merged.jsonl", both)
    _write_lines("releases.jsonl", released)
    names = ("metric", "component", "value", "time")
    table = pa.table({name: [row[name] for row in rows] for name in names})
    zones = pa.array([row["labels"] for row in rows], pa.struct([("zone", pa.string())]))
    pq.write_table(table.append_column("labels", zones), "samples.parquet", row_group_size=100)


_ZONES = ({"zone": "x"}, {"zone": "y"})


def _rows() -> list[dict[str, Any]]:
    return [
        {"metric": metric, "component": component, "value": value, "time": T0 + at, "labels": _ZONES[at % 2]}
        for at in range(0, 700, 5)
        for component in "ab"
        for metric, value in (
            ("ms", 100.0 if at < 300 or at > 600 else 160.0),
            ("errors", 1.0 if at < 450 else 3.0),
            ("requests", 100.0 + at % 3),
        )
    ]  # fmt: skip


def _write_lines(name: str, lines: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def _write_releases(name: str, time: pa.DataType, *, version: bool = True) -> None:
    components, times, versions = (list(column) for column in zip(*RELEASES, strict=True))
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    stamps = (
        pa.array(times, pa.float64())
        if time == pa.float64()
        else pa.array([round(each * per_second[time.unit]) for each in times], pa.int64()).cast(time)
    )
    columns = {"component": components, "time": stamps} | ({"version": versions} if version else {})
    pq.write_table(pa.table(columns), name)


def _backtest(samples: str, *more: str) -> tuple[list[dict[str, Any]], Result]:
    result = CliRunner().invoke(app, ["backtest", "--rules", "rules.yml", "--input", samples, *more])
    return [json.loads(line) for line in result.stdout.splitlines()], result


def _refused(*arguments: str) -> BackoutError:
    error = _backtest(*arguments)[1].exception
    assert isinstance(error, BackoutError)
    return error


@pytest.mark.parametrize("samples", ["samples.jsonl", "samples.parquet"])
@pytest.mark.parametrize(
    "time", [None, pa.float64(), pa.timestamp("ms", tz="UTC"), pa.timestamp("ns", tz="Europe/Berlin")]
)
def test_the_same_as_among_the_samples_in_order_of_time(samples: str, time: pa.DataType | None) -> None:
    expected, result = _backtest("merged.jsonl")
    assert result.exit_code == 0, result.output
    assert {each["trigger"] for each in expected} == {"slower", "worse", "young"}
    assert {each["group"]["component"] for each in expected} == {"a", "b"}
    name = "releases.jsonl"
    if time is not None:
        _write_releases(name := "releases.parquet", time)
    found, result = _backtest(samples, "--releases", name)
    assert result.exit_code == 0, result.output
    assert found == expected
    if samples.endswith("parquet"):
        assert _backtest(samples, "--releases", name, "--by-time")[0] == expected


_TIMES = st.integers(-400, 4_000).map(lambda quarters: T0 + quarters / 4)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(_TIMES, st.sampled_from("ab"), st.sampled_from([100.0, 160.0, 300.0])), max_size=40),
    st.lists(st.tuples(_TIMES, st.sampled_from("abc")), max_size=5),
    st.sampled_from([None, T0 + 1_200.0]),
)
def test_known_beforehand_they_decide_as_in_order_of_time(
    samples: list[tuple[float, str, float]], released: list[tuple[float, str]], until: float | None
) -> None:
    rules = load_rules([Path("rules.yml")], targets=Targets(default="{component}"), playbooks=())
    releases = [Release(component, time) for time, component in released]
    lines = [
        (time, encode_batch(component, [Sample(metric, component, value, time)]))
        for time, component, value in sorted(samples)
        for metric in ("ms", "errors", "requests")
    ]
    announced = [(epoch_seconds(release.time), encode_release(release)) for release in releases]
    merged = [line for _, line in sorted([*announced, *lines], key=lambda entry: entry[0])]

    def backtest(lines: list[bytes], releases: list[Release]) -> list[dict[str, Any]]:
        found = backtest_lines(
            rules,
            lines,
            allowed_lateness=2.0,
            until=until,
            releases=releases,
            on_unread=lambda place, unread: pytest.fail(f"{place}: {unread}"),
        )
        return [transition_json(outcome) for outcome in found.outcomes]

    assert backtest([line for _, line in lines], releases) == backtest(merged, [])


def test_a_line_may_be_the_release_alone_and_a_version_may_be_missing() -> None:
    expected, _ = _backtest("merged.jsonl")
    _write_lines("alone.jsonl", [{"component": component, "time": time} for component, time, _ in RELEASES])
    assert _backtest("samples.parquet", "--releases", "alone.jsonl")[0] == expected
    _write_releases("releases.parquet", pa.float64(), version=False)
    assert _backtest("samples.parquet", "--releases", "releases.parquet")[0] == expected


def test_a_timestamp_without_a_zone_is_refused_unless_it_is_said_to_be_utc() -> None:
    _write_releases("releases.parquet", pa.timestamp("us"))
    for samples in ("samples.jsonl", "samples.parquet"):
        refused = _refused(samples, "--releases", "releases.parquet")
        assert "releases.parquet: the column 'time' is a timestamp without a time zone" in str(refused)
        found, _ = _backtest(samples, "--releases", "releases.parquet", "--assume-utc")
        assert found == _backtest("merged.jsonl")[0]


def test_every_line_that_is_no_release_is_named_and_nothing_is_run() -> None:
    lines = [
        '{"component": "a", "time": 1767225600}',
        "not JSON",
        '{"metric": "ms", "component": "a", "value": 1, "time": 1767225600}',
        "",
        '{"release": {"component": "a b", "time": 1767225600}}',
        '{"component": "a", "time": 1767225600000}',
        '{"release": {"component": "a"}}',
    ]
    Path("releases.jsonl").write_text("\n".join(lines) + "\n")
    found, result = _backtest("samples.jsonl", "--releases", "releases.jsonl")
    assert found == []
    assert isinstance(result.exception, ConfigErrors)
    assert [error.place for error in result.exception.errors] == [
        f"releases.jsonl:{number}" for number in (2, 3, 5, 6, 7)
    ]
    words = [error.problem for error in result.exception.errors]
    assert "no JSON object" in words[0]
    assert words[1] == "samples and no release"
    assert "component 'a b'" in words[2]
    assert "time" in words[3]
    assert "missing required field `time`" in words[4]


def test_every_row_that_is_no_release_is_named() -> None:
    columns = {
        "component": ["a", None, "a b", "a", "a", "a"],
        "time": [float(T0), 1.0, 1.0, None, T0 * 1e3, float("nan")],
        "version": ["1", None, "1", "1", "1", "1"],
    }
    pq.write_table(pa.table(columns), "releases.parquet")
    refused = _refused("samples.parquet", "--releases", "releases.parquet")
    assert isinstance(refused, ConfigErrors)
    assert [(error.place, error.problem[:24]) for error in refused.errors] == [
        ("releases.parquet:2", "no `component`"),
        ("releases.parquet:3", "component 'a b': letters"),
        ("releases.parquet:4", "no `time`"),
        ("releases.parquet:5", "time 1767225600000.0: ou"),
        ("releases.parquet:6", "time nan: outside the ye"),
    ]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"component": ["a"]}, "has no column 'time'. Its columns are component; `component` and `time` are"),
        ({"component": [1], "time": [1.0]}, "the column 'component' is int64"),
        ({"component": ["a"], "time": ["now"]}, "the column 'time' is string"),
        ({"component": ["a"], "time": [1.0], "version": [2]}, "the column 'version' is int64"),
        ({"component": ["a"], "time": [1.0], "metric": ["ms"]}, "holds samples and no releases"),
    ],
)
def test_a_wrong_column_is_named(columns: dict[str, list[Any]], words: str) -> None:
    pq.write_table(pa.table(columns), "releases.parquet")
    assert words in str(_refused("samples.parquet", "--releases", "releases.parquet"))


def test_what_cannot_be_is_refused() -> None:
    assert "Parquet holds no releases, and slower, worse, young would wait for one" in str(
        _refused("samples.parquet")
    )
    missing = _refused("samples.parquet", "--releases", "absent.jsonl")
    assert isinstance(missing, UsageError)
    assert "cannot read absent.jsonl" in str(missing)
    result = CliRunner().invoke(
        app, ["backtest", "--rules", "rules.yml", "--from-topic", "--releases", "releases.jsonl"]
    )
    assert "--releases and --reports are for --input" in str(result.exception)
