"""`python -m benchmarks.predictions`: what it reads, refuses and writes."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest

from benchmarks import predictions
from benchmarks.prediction_series import generate
from benchmarks.predictions import UnreadableData, read_series
from tests.unit.monitor.prediction.recordings import clockwork, day_and_noise


def write(path: Path, *rows: str, header: str = "timestamp,value") -> Path:
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def test_times_of_each_form_are_put_in_order_and_gaps_stay_gaps(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "2014-02-14 14:35:00,2.5",
        "1392388200,1.5",
        "2014-02-14T15:35:00+01:00,9",
        "2014-02-14T14:40:00Z,",
        "",
        "2014-02-14 14:45:00,nan",
        "2014-02-14 14:50:00,3",
    )
    series = read_series(path)
    assert series.name == "a"
    assert [datetime.fromtimestamp(moment, UTC).minute for moment in series.time] == [30, 35, 50]
    assert series.value.tolist() == [1.5, 2.5, 3.0]


@pytest.mark.parametrize(
    ("row", "place"), [("yesterday,1", ":2"), ("2014-02-14 14:30:00,much", ":2"), ("1392388200", ":2")]
)
def test_a_row_that_is_none_is_named(tmp_path: Path, row: str, place: str) -> None:
    path = write(tmp_path / "a.csv", row)
    with pytest.raises(UnreadableData, match=f"{path}{place}"):
        read_series(path)
    with pytest.raises(UnreadableData, match="timestamp,value"):
        read_series(write(path, row, header="time;value"))


def test_the_script_writes_table_figures_and_diagram(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name, (time, value) in {"rhythm": clockwork(400), "day": day_and_noise(8, 400)}.items():
        rows = (f"{moment},{over + 10}" for moment, over in zip(time.tolist(), value.tolist(), strict=True))
        write(data / f"{name}.csv", *rows)
    figures, diagram = tmp_path / "figures.json", tmp_path / "diagram.svg"
    command = f"predictions --data {data} --json {figures} --diagram {diagram} --horizon 20m --quantile 0.9"
    monkeypatch.setattr(sys, "argv", command.split())
    assert predictions.main() == 0
    written = json.loads(figures.read_text())
    assert written["horizon_s"] == 1_200
    assert written["series"].keys() == {"rhythm", "day"}
    every = [one["backout"] for one in written["series"].values()]
    pooled = written["pooled"]["backout"]
    assert pooled["judged"] == sum(one["judged"] for one in every) > 500
    assert pooled["onsets"] == sum(one["onsets"] for one in every)
    assert sum(cell["count"] for cell in pooled["reliability"]) == pooled["judged"]
    for peer in ("daily logistic", "predict_linear 30m"):
        assert written["pooled"][peer]["judged"] == pooled["judged"]
    assert Xml.fromstring(diagram.read_text()).tag.endswith("svg")  # noqa: S314
    assert "backout, all" in capsys.readouterr().out


def test_a_folder_without_series_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["predictions", "--data", str(tmp_path)])
    assert predictions.main() == 2
    write(tmp_path / "bad.csv", "x,y")
    assert predictions.main() == 2


def test_generated_series_are_the_same_for_a_seed_and_breach_now_and_then() -> None:
    one, again = generate(3, 6, 500, (300.0,)), generate(3, 6, 500, (300.0,))
    np.testing.assert_array_equal(one.excess, again.excess)
    shares = (one.excess > 0).mean(axis=1)
    assert np.all((shares > 0.004) & (shares < 0.2))
    np.testing.assert_allclose(np.diff(one.time, axis=1), 300.0)
