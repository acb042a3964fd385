"""`backout triggers backtest --predictions`: what is written, and that portions change nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.monitor.adapters.prediction_runs import RunsOnDisk
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.prediction.alerts import PredictiveAlert
from services.monitor.handlers import prediction_backtest
from services.monitor.handlers.prediction_backtest import PredictionBacktest, prediction_json
from tests.unit.monitor.prediction.recordings import clockwork

LATENCY = PredictiveAlert("latency", "p95", Condition(">", 100.0), 1_800, 0.8)
DAYS = 12 * 24


def records(
    length: int, *, components: tuple[str, ...] = ("api",), zone: str | None = None
) -> Iterator[bytes]:
    time, excess = clockwork(length)
    labels = {} if zone is None else {"labels": {"zone": zone}}
    for moment, over in zip(time.tolist(), excess.tolist(), strict=True):
        for component in components:
            sample = {"metric": "p95", "component": component, "value": 100.0 + over, "time": moment}
            yield json.dumps(sample | labels).encode()


def backtest(lines: Iterator[bytes], alert: PredictiveAlert = LATENCY, which: str = "all") -> list[dict]:
    backtest = PredictionBacktest([alert], which)
    passed = list(backtest.watch(lines))
    assert all(isinstance(line, bytes) for line in passed)
    return [prediction_json(one) for one in backtest.found()]


def test_a_prediction_is_written_for_each_evaluation() -> None:
    found = backtest(records(100))
    breaching = int((clockwork(100)[1] > 0).sum())
    assert len(found) == 100 - breaching
    assert found[0].keys() == {"at", "kind", "model", "group", "probability", "horizon_s", "value"}
    assert found[0] | {"probability": 0} == {
        "at": "2023-11-14T22:13:20Z",
        "kind": "prediction",
        "model": "latency",
        "group": {"component": "api"},
        "probability": 0,
        "horizon_s": 1_800,
        "value": 99.0,
    }


def test_alerts_are_those_at_or_above_the_confidence() -> None:
    every = backtest(records(DAYS))
    alerts = backtest(records(DAYS), which="alerts")
    assert alerts == [one for one in every if one["probability"] >= 0.8]
    assert 10 < len(alerts) < len(every)


def test_portions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = backtest(records(200, components=("api", "web", "batch")))
    monkeypatch.setattr(prediction_backtest, "_AT_ONCE", 7)
    assert backtest(records(200, components=("api", "web", "batch"))) == whole
    assert {one["group"]["component"] for one in whole} == {"api", "web", "batch"}
    assert [one["at"] for one in whole] == sorted(one["at"] for one in whole)


def test_groups_may_have_labels() -> None:
    alert = PredictiveAlert("latency", "p95", Condition(">", 100.0), 1_800, 0.8, ("component", "zone"))
    lines = [*records(20, zone="a"), *records(20, zone="b"), *records(20)]
    groups = [one["group"] for one in backtest(iter(lines), alert)]
    assert {tuple(group.items()) for group in groups} == {
        (("component", "api"), ("zone", zone)) for zone in ("a", "b", "")
    }


def test_unreadable_lines_and_other_metrics_are_left_to_others() -> None:
    escaped = b'{"metric": "p\\u00395", "component": "api", "value": 1, "time": 5}'
    lines = [b"no p95 json", b"", b'{"metric": "other", "component": "p95", "value": 1, "time": 1}', escaped]
    (found,) = backtest(iter(lines))
    assert found["at"] == "1970-01-01T00:00:05Z"


def run_backtest(directory: Path, *options: str) -> list[dict]:
    rules = directory / "rules.yml"
    rules.write_text(
        'triggers:\n  - {name: slow, metric: response_time_p95_ms, when: "> 3000"}\n',
        encoding="utf-8",
    )
    time, excess = clockwork(DAYS)
    samples = directory / "samples.jsonl"
    rows = [
        {
            "metric": "response_time_p95_ms",
            "component": "pdf_extraction",
            "value": 3_000 + 100 * over,
            "time": moment,
        }
        for moment, over in zip(time.tolist(), np.round(excess, 6).tolist(), strict=True)
    ]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return backtest_command(directory, *options)


def backtest_command(directory: Path, *options: str) -> list[dict]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "cli.main",
            "triggers",
            "backtest",
            "--rules",
            directory / "rules.yml",
            "--input",
            directory / "samples.jsonl",
            *options,
        ],
        capture_output=True,
        check=True,
        text=True,
        env=dict(os.environ),
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_command_writes_predictions_among_the_transitions(tmp_path: Path) -> None:
    plain = run_backtest(tmp_path)
    alerts = run_backtest(tmp_path, "--predictions", "alerts")
    every = run_backtest(tmp_path, "--predictions", "all")
    assert plain
    for found in (alerts, every):
        assert [one for one in found if "kind" not in one] == plain
        assert [one["at"] for one in found] == sorted(one["at"] for one in found)
    predicted = [one for one in every if one.get("kind") == "prediction"]
    assert {one["model"] for one in predicted} == {"response_time_predictor"}
    assert [one for one in alerts if "kind" in one] == [one for one in predicted if one["probability"] >= 0.8]
    assert 5 < len(alerts) - len(plain) < len(predicted)


def test_runs_on_disk_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list(records(100, components=("web", "api", "batch")))
    whole = backtest(iter(lines))
    monkeypatch.setattr(prediction_backtest, "_IN_A_RUN", 40)
    monkeypatch.setattr(prediction_backtest, "_AT_ONCE", 7)
    on_disk = RunsOnDisk()
    kept: list[int] = []

    def keep(run: prediction_backtest.Run) -> prediction_backtest.Run:
        kept.append(len(run))
        return on_disk(run)

    predicted = PredictionBacktest([LATENCY], "all", keep)
    assert list(predicted.watch(lines)) == lines
    assert [prediction_json(one) for one in predicted.found()] == whole
    assert len(kept) > 3
    assert sum(kept) == len(whole)


def test_parquet_gives_the_predictions_of_json_lines(tmp_path: Path) -> None:
    expected = run_backtest(tmp_path, "--predictions", "all")
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    table = pa.table({name: [row[name] for row in rows] for name in ("metric", "component", "value", "time")})
    pq.write_table(table, tmp_path / "samples.jsonl", row_group_size=50)
    assert backtest_command(tmp_path, "--predictions", "all") == expected
    assert any(one.get("kind") == "prediction" for one in expected)


BY_ZONE = """\
triggers: [{name: slow, metric: p95, when: "> 3000"}]
enhanced_monitoring:
  predictive_alerts:
    - {model: zones, metric: p95, breach: "> 100", prediction_window: 30m, confidence_threshold: 0.8,
       group_by: [component, zone, host]}
    - {model: all, metric: p95, breach: "> 100", prediction_window: 30m, confidence_threshold: 0.8}
"""


@pytest.mark.parametrize("kind", ["map", "struct"])
def test_groups_with_labels_are_those_of_json_lines(tmp_path: Path, kind: str) -> None:
    """Rows without labels, or without one of them, have the empty text for it."""
    (tmp_path / "rules.yml").write_text(BY_ZONE)
    time, excess = clockwork(DAYS // 4)
    given = [{"zone": "a", "host": "1"}, {"zone": "b"}, {"host": "1", "other": "x"}, {}]
    rows = [
        {"metric": "p95", "component": component, "value": 100 + over, "time": moment + which, "labels": one}
        for moment, over in zip(time.tolist(), np.round(excess, 6).tolist(), strict=True)
        for which, one in enumerate(given)
        for component in ("api", "web")
    ]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    expected = backtest_command(tmp_path, "--predictions", "all")
    labels = [row.pop("labels") for row in rows]
    table = pa.table({name: [row[name] for row in rows] for name in ("metric", "component", "value", "time")})
    texts = {name: pa.string() for name in ("zone", "host", "other")}
    column = (
        pa.array([list(one.items()) for one in labels], pa.map_(pa.string(), pa.string()))
        if kind == "map"
        else pa.array(labels, pa.struct(texts.items()))
    )
    pq.write_table(table.append_column("labels", column), tmp_path / "samples.jsonl", row_group_size=50)
    assert backtest_command(tmp_path, "--predictions", "all") == expected
    groups = {tuple(one["group"].values()) for one in expected if one.get("model") == "zones"}
    assert groups == {
        (component, one.get("host", ""), one.get("zone", "")) for one in given for component in ("api", "web")
    }


def test_labels_that_parquet_lacks_are_named(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(BY_ZONE)
    pq.write_table(
        pa.table({"metric": ["a"], "component": ["c"], "value": [1.0], "time": [1.0]}),
        tmp_path / "samples.jsonl",
    )
    with pytest.raises(subprocess.CalledProcessError) as refused:
        backtest_command(tmp_path)
    assert "has no column 'labels', and triggers or predictions read host, zone" in refused.value.stderr
