"""``make bench ONLY=predictions DATA=dir``: predictions of a breach, beside those that a user would make.

    python -m benchmarks.predictions --data DIR [--confidence 0.8] [--horizon 30m] [--quantile 0.95]
                                     [--json FILE] [--diagram FILE.svg] [--cost 10000]

DIR holds CSV files with the header ``timestamp,value`` (RFC 3339, UTC where no offset is given, or epoch
seconds). The threshold of each series is its own quantile, as if somebody had configured it; the model
knows that number and the samples up to the one at which it predicts, nothing else. All methods are
judged at the same samples, those at which the model evaluates; services/monitor/domain/prediction/
scoring.py says what counts. Figures are given a series, pooled, and for every other file (by name).
``--cost N`` measures, besides, what N generated series take.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.daily_logistic import daily_logistic
from benchmarks.figures import machine
from benchmarks.reliability_diagram import draw
from services.monitor.domain.language.durations import parse_duration
from services.monitor.domain.prediction.linear import predict_linear
from services.monitor.domain.prediction.model import new_predictor
from services.monitor.domain.prediction.scoring import Score, observe_truth, pool, score

Floats = npt.NDArray[np.float64]
OURS, LINEAR_30M, LINEAR_4H = "backout", "predict_linear 30m", "predict_linear 4h"
LOGISTIC = "daily logistic"
METHODS = (OURS, LOGISTIC, LINEAR_30M, LINEAR_4H)


class UnreadableData(Exception):
    """A file that is no series; says where and why."""


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    time: Floats
    value: Floats


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Scores of one series by method."""

    name: str
    scores: Mapping[str, Score]


def main() -> int:
    options = _parse()
    try:
        every = [read_series(path) for path in sorted(options.data.glob("*.csv"))]
    except (UnreadableData, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if not every:
        print(f"{options.data}: no CSV files there", file=sys.stderr)
        return 2
    found = evaluate(every, options.horizon, options.quantile, options.confidence)
    print_table(found)
    if options.cost:
        print_cost(options.cost, options.horizon)
    if options.json:
        options.json.write_text(json.dumps(_document(found, options), indent=2) + "\n", encoding="utf-8")
    if options.diagram:
        drawn = (OURS, LOGISTIC, LINEAR_30M)
        curves = {method: pool(one.scores[method] for one in found) for method in drawn}
        options.diagram.write_text(draw(curves, options.confidence), encoding="utf-8")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.predictions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--confidence", type=float, default=0.8)
    parser.add_argument("--horizon", type=_duration, default=1_800, metavar="30m")
    parser.add_argument("--quantile", type=float, default=0.95, help="of each series: its threshold")
    parser.add_argument("--cost", type=int, metavar="SERIES", help="measure time and memory of so many")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--diagram", type=Path, metavar="FILE.svg")
    options: argparse.Namespace = parser.parse_args()
    return options


def _duration(text: str) -> int:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not seconds:
        raise argparse.ArgumentTypeError("longer than nothing")
    return seconds


def read_series(path: Path) -> Series:
    """Read one file, in order of time; of several values of one time the first counts, and rows
    whose value is empty or no finite number are left out, as gaps."""
    times: list[float] = []
    values: list[float] = []
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if [cell.strip() for cell in header[:2]] != ["timestamp", "value"]:
            raise UnreadableData(f"{path}:1: the header is {header}; wanted is timestamp,value")
        for number, row in enumerate(rows, start=2):
            if not row:
                continue
            try:
                moment, value = _time(row[0]), float(row[1] or "nan")
            except (ValueError, IndexError) as error:
                raise UnreadableData(f"{path}:{number}: {row} is no time and value: {error}") from None
            if math.isfinite(value):
                times.append(moment)
                values.append(value)
    time_, first = np.unique(np.array(times, dtype=np.float64), return_index=True)
    return Series(path.stem, time_, np.array(values, dtype=np.float64)[first])


def _time(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text.strip())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def predict(
    every: Sequence[Series], thresholds: Sequence[float], horizon: float
) -> tuple[list[Floats], float]:
    """The model's probability at each sample, nan where it makes none, and the seconds it took.

    The series are advanced side by side, sample by sample; each is predicted as if it were alone
    (tests/unit/monitor/prediction/test_predictor.py).
    """
    predictor = new_predictor(horizon, len(every))
    said = [np.full(len(one.time), np.nan) for one in every]
    began = time.perf_counter()
    for index in range(max(len(one.time) for one in every)):
        rows = [row for row, one in enumerate(every) if index < len(one.time)]
        moments = np.array([every[row].time[index] for row in rows])
        excess = np.array([every[row].value[index] - thresholds[row] for row in rows])
        chances = predictor.observe(np.array(rows), moments, excess)
        for row, chance in zip(rows, chances, strict=True):
            said[row][index] = chance
    return said, time.perf_counter() - began


def evaluate(every: Sequence[Series], horizon: float, quantile: float, confidence: float) -> list[Evaluated]:
    """All methods on all series."""
    thresholds = [float(np.quantile(one.value, quantile)) if len(one.value) else 0.0 for one in every]
    said, seconds = predict(every, thresholds, horizon)
    evaluations = sum(int(np.isfinite(chances).sum()) for chances in said)
    print(f"{evaluations} evaluations of {len(every)} series in {seconds:.1f} s\n")
    return [
        _judge(one, threshold, ours, horizon, confidence)
        for one, threshold, ours in zip(every, thresholds, said, strict=True)
    ]


def _judge(series: Series, threshold: float, ours: Floats, horizon: float, confidence: float) -> Evaluated:
    truth = observe_truth(series.time, series.value, threshold, horizon)
    peers = {
        LOGISTIC: daily_logistic(series.time, series.value, threshold, horizon),
        LINEAR_30M: predict_linear(series.time, series.value, threshold, window=1_800.0, horizon=horizon),
        LINEAR_4H: predict_linear(series.time, series.value, threshold, window=14_400.0, horizon=horizon),
    }
    scores = {OURS: score(truth, ours, confidence)}
    for method, said in peers.items():
        said[~np.isfinite(ours)] = np.nan
        scores[method] = score(truth, said, confidence)
    return Evaluated(series.name, scores)


def print_table(found: Sequence[Evaluated]) -> None:
    """Per series ours, then every method pooled over all, and over each half of the files."""
    print(
        f"{'':42}  {'judged':>7}  {'base':>5}  {'alerts':>6}  {'precision':>9}  {'recall':>6}  "
        f"{'onsets':>6}  {'skill':>6}  {'off by':>6}"
    )
    for one in found:
        _print_row(one.name, one.scores[OURS])
    for half, some in (("all", found), ("1st, 3rd, …", found[::2]), ("2nd, 4th, …", found[1::2])):
        print()
        for method in METHODS:
            _print_row(f"{method}, {half}", pool(one.scores[method] for one in some))
    print("skill: Brier skill over each series' own base rate; off by: mean |said - came| by bin")


def _print_row(label: str, one: Score) -> None:
    print(
        f"{label[:42]:42}  {one.judged:>7}  {one.base_rate:>5.3f}  {one.alerts:>6}  {one.precision:>9.3f}  "
        f"{one.recall:>6.3f}  {one.onsets:>6}  {one.brier_skill:>6.3f}  {one.calibration_error():>6.3f}"
    )


def print_cost(count: int, horizon: float, ticks: int = 30) -> None:
    """Time and memory of ``count`` series of noise that are evaluated together, tick by tick."""
    random = np.random.default_rng(1)
    predictor = new_predictor(horizon, count)
    rows = np.arange(count)
    taken = []
    for tick in range(ticks):
        excess = random.standard_normal(count) - 1.5
        moments = np.full(count, tick * horizon / 6)
        began = time.perf_counter()
        predictor.observe(rows, moments, excess)
        taken.append(time.perf_counter() - began)
    # The first ticks have no answers to learn from.
    median = float(np.median(taken[ticks // 2 :]))
    began = time.perf_counter()
    size = len(predictor.snapshot())
    print(
        f"{count} series: {median * 1e6 / count:.1f} µs an evaluation, "
        f"{predictor.nbytes / count / 1024:.1f} KiB a series, "
        f"snapshot of {size / 2**20:.0f} MiB in {time.perf_counter() - began:.2f} s"
    )


def _document(found: Sequence[Evaluated], options: argparse.Namespace) -> dict[str, Any]:
    return {
        "machine": machine(),
        "confidence": options.confidence,
        "horizon_s": options.horizon,
        "quantile": options.quantile,
        "pooled": {method: _figures(pool(one.scores[method] for one in found)) for method in METHODS},
        "series": {one.name: {method: _figures(one.scores[method]) for method in METHODS} for one in found},
    }


def _figures(one: Score) -> dict[str, Any]:
    figures = {
        "judged": one.judged,
        "base_rate": one.base_rate,
        "alerts": one.alerts,
        "precision": one.precision,
        "recall": one.recall,
        "onsets": one.onsets,
        "brier": one.brier,
        "brier_skill": one.brier_skill,
        "brier_skill_common_base": one.brier_skill_common,
        "calibration_error": one.calibration_error(),
    }
    shown: dict[str, Any] = {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in figures.items()
    }
    shown["reliability"] = [dataclasses.asdict(cell) for cell in one.reliability()]
    return shown


if __name__ == "__main__":
    sys.exit(main())
