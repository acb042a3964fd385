"""``make bench ONLY=engine``: trigger evaluations a second and core, and how exact p95 is.

- One partition's worth of the workload after the other goes through intake and engine in this
  process, without Kafka. An evaluation is one trigger instance at one second; what is divided by
  is the processor's time of the engine alone.
- A million latencies of two shapes (log-normal; cache hits and misses) go through the windows of a
  p95 trigger; the value of every window is compared with numpy's quantile of the same samples.

Exit status 1 if a target is missed.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.figures import Target, report
from benchmarks.load import PARTITIONS
from benchmarks.workload import Workload
from chassis.kafka import partition_for_key
from services.monitor.adapters.config_directory import load_config
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.language.aggregates import TRAITS
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.aggregates.quantile import Quantile
from services.monitor.domain.measuring.lane_bank import LaneBank
from services.monitor.domain.measuring.lanes import Lanes
from services.monitor.domain.measuring.windows import Floats, Ints, Visible

SAMPLES, SECONDS = 300_000, 300
PORTION = 20_000
START = 1_767_225_600
ROUNDS = 3
LATENCIES = 1_000_000
PER_SECOND, WINDOW_S = 1_000, 60
LATENESS_S = 2.0


class _Record(NamedTuple):
    offset: int
    timestamp: int
    value: bytes


def main() -> int:
    figures: dict[str, tuple[str, list[float]]] = {}
    for triggers in (10, 100):
        workload = Workload(SAMPLES, SECONDS, triggers=triggers)
        label = f"{workload.instances:,} triggers"
        rules, partitions = _rules(workload), _records(workload)
        for _ in range(ROUNDS):
            evaluations, cpu = _evaluate(rules, partitions)
            figures.setdefault(label, ("evaluations/CPU s", []))[1].append(evaluations / cpu)
            figures.setdefault(f"{label}, engine", ("ns/sample", []))[1].append(cpu / SAMPLES * 1e9)
    errors = {name: _worst_error(values) for name, values in _latencies().items()}
    for name, error in errors.items():
        figures[f"p95, {name}: greatest error"] = ("% of numpy's", [100 * error])
    of = {label: statistics.median(runs) for label, (_, runs) in figures.items()}
    targets = [
        Target("evaluations a second and core, 1,000 triggers", of["1,000 triggers"], at_least=1e6),
        Target("evaluations a second and core, 10,000 triggers", of["10,000 triggers"], at_least=1e6),
        Target("p95: greatest error, %", 100 * max(errors.values()), below=1.1),
    ]
    return report("engine", figures, targets)


def _rules(workload: Workload) -> tuple[Rule, ...]:
    with tempfile.TemporaryDirectory(prefix="backout-bench-") as name:
        workload.configure(Path(name) / "config")
        return load_config(Path(name) / "config").rules


def _records(workload: Workload) -> list[list[_Record]]:
    partitions: list[list[_Record]] = [[] for _ in range(PARTITIONS)]
    for component, value in workload.messages(START):
        of_partition = partitions[partition_for_key(component.encode(), PARTITIONS)]
        of_partition.append(_Record(len(of_partition), (START + SECONDS) * 1_000, value))
    return [records for records in partitions if records]


def _evaluate(rules: tuple[Rule, ...], partitions: list[list[_Record]]) -> tuple[int, float]:
    """How many evaluations were made, and the seconds of the processor that the engine took."""
    evaluations, cpu = 0, 0.0
    for records in partitions:
        engine = PartitionEngine(rules, allowed_lateness=LATENESS_S)
        intake = Intake(engine.series)
        for at in range(0, len(records), PORTION):
            taken = intake.read(records[at : at + PORTION])
            began = time.process_time()
            engine.advance(taken.columns)
            cpu += time.process_time() - began
        through = engine.evaluated_through
        instances = sum(1 for _ in engine.series.instances())
        evaluations += 0 if through is None else instances * (through - START)
    return evaluations, cpu


def _latencies() -> dict[str, Floats]:
    chance = np.random.default_rng(11)
    hits = np.exp(chance.normal(3.0, 0.4, LATENCIES))
    misses = np.exp(chance.normal(6.5, 0.5, LATENCIES))
    return {
        "log-normal": np.exp(chance.normal(5.3, 0.6, LATENCIES)),
        "hits and misses": np.where(chance.random(LATENCIES) < 0.92, hits, misses),
    }


def _worst_error(values: Floats) -> float:
    """The greatest relative difference to numpy, over the windows of every second."""
    lanes = Lanes()
    bank = LaneBank(lanes, WINDOW_S, Quantile(0.95), TRAITS["p95"])
    bank.add_row(Condition(">", 1e9), None, lanes.add())
    worst = 0.0
    for begin in range(0, len(values), PORTION):
        part = values[begin : begin + PORTION]
        second: Ints = START + (begin + np.arange(len(part))) // PER_SECOND
        none = np.zeros(len(part), dtype=np.int64)
        time_ = second.astype(np.float64)
        first, last = int(second[0]), int(second[-1])
        lanes.take(Visible(none, second, second, time_, part, begin + np.arange(len(part))), first, last)
        for at, found in enumerate(bank.find().values(0).tolist()):
            upto = (first + at - START + 1) * PER_SECOND
            wanted = float(np.quantile(values[max(0, upto - WINDOW_S * PER_SECOND) : upto], 0.95))
            worst = max(worst, abs(found - wanted) / wanted)
    return worst


if __name__ == "__main__":
    sys.exit(main())
