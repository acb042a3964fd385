"""``make bench ONLY=monitor``: the monitor beside a bare consumer and other stream processors.

On one real Kafka, in turns, each run in a process of its own (see workload.py for the samples and
triggers, one_run.py for what is timed):

- a bare aiokafka consumer that decodes single JSON samples with msgspec, the monitor with 1,000
  trigger instances on the same topic, and with 10,000;
- Bytewax, Quix Streams and Faust, which only count the same samples in windows;
- both again on batches of 100 samples;
- the monitor on 100,000 series, each with a trigger.

Prints the table with each target and whether it is met; exit status 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import peers
from benchmarks.figures import Target, report
from benchmarks.load import broker, publish
from benchmarks.workload import SAMPLES, SECONDS, Workload

ROUNDS = 3
TWICE = 2
"""The peers, and 100,000 series, take long: they are measured no more often."""
BARE, MONITOR = "bare consumer", "monitor, 1,000 triggers"
TEN = "monitor, 10,000 triggers"
BARE_BATCHES, BATCHES = "bare consumer, batches", "monitor, batches"
MANY = "monitor, 100,000 series"
MEMORY = f"{MANY}, memory"
EVALUATIONS = f"{TEN}, evaluations"


@dataclass(frozen=True, slots=True)
class Run:
    """What is measured on which records."""

    label: str
    what: str
    namespace: str
    config: str
    samples: int


@dataclass
class Bench:
    bootstrap: str
    directory: Path
    samples: int
    namespace: str = field(default_factory=lambda: f"bench.{secrets.token_hex(4)}.")
    figures: dict[str, tuple[str, list[float]]] = field(default_factory=dict)

    def note(self, label: str, unit: str, value: float) -> None:
        self.figures.setdefault(label, (unit, []))[1].append(value)
        print(f"  {label}: {value:,.0f} {unit}", flush=True)

    def one(self, run: Run) -> dict[str, float]:
        argv = [
            sys.executable,
            "-m",
            "benchmarks.one_run",
            run.what,
            self.bootstrap,
            self.namespace + run.namespace,
        ]
        argv += [str(self.directory / run.config), str(run.samples)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{run.label} failed:\n{done.stderr}")
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        self.note(run.label, "samples/s", found["rate"])
        self.note(f"{run.label}, CPU", "samples/CPU s", found["cpu_rate"])
        return found

    def median(self, label: str) -> float:
        return statistics.median(self.figures[label][1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitor", description=__doc__)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    beside = () if options.without_peers else peers.PEERS
    for peer in beside:
        peers.install(peer)
    with tempfile.TemporaryDirectory(prefix="backout-bench-") as name, broker(Path(name)) as bootstrap:
        bench = Bench(bootstrap, Path(name), options.samples)
        _measure(bench, options.rounds, beside)
    return report("monitor", bench.figures, _targets(bench, beside))


def _measure(bench: Bench, rounds: int, beside: Sequence[peers.Peer]) -> None:
    samples = bench.samples
    seconds = max(1, SECONDS * samples // SAMPLES)
    single = Workload(samples, seconds)
    workloads = {
        "single": single,
        "ten": Workload(samples, seconds, triggers=100),
        # They go by so fast that a million of them is over before it is measured.
        "batches": Workload(3 * samples, 3 * seconds, batch=100),
        "many": Workload(samples, seconds, components=10_000, triggers=1),
    }
    for name, workload in workloads.items():
        workload.configure(bench.directory / name)
    for name in ("single", "batches", "many"):
        publish(bench.bootstrap, f"{bench.namespace}{name}.", workloads[name])
    bare = Run(BARE, "bare", "single.", "single", samples)
    monitor = Run(MONITOR, "monitor", "single.", "single", samples)
    ten = Run(TEN, "monitor", "single.", "ten", samples)
    bare_batches = Run(BARE_BATCHES, "bare", "batches.", "batches", 3 * samples)
    batches = Run(BATCHES, "monitor", "batches.", "batches", 3 * samples)
    many = Run(MANY, "monitor", "many.", "many", samples)
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        # Each goes first in turn, so that none has the warmer cache every time.
        in_turns = [bare, monitor, ten, batches, bare_batches]
        for run in in_turns if number % 2 == 0 else reversed(in_turns):
            found = bench.one(run)
            if run is ten:
                # The first portion is not in the time: its share of the evaluations is left out, too.
                evaluations = workloads["ten"].instances * seconds * found["rate"] / samples
                bench.note(EVALUATIONS, "evaluations/s", evaluations)
        if number >= TWICE:
            continue
        bench.note(MEMORY, "MiB", bench.one(many)["rss_mib"])
        for peer in beside:
            rate = peers.rate(peer, bench.bootstrap, f"{bench.namespace}single.backout.metrics.v1", samples)
            bench.note(peer.label, "samples/s", rate)


def _targets(bench: Bench, beside: Sequence[peers.Peer]) -> list[Target]:
    of = bench.median
    single = of(MONITOR)
    batches = of(BATCHES)
    target = min(1_000_000.0, 0.8 * of(BARE_BATCHES))
    return [
        Target("single samples: monitor / bare consumer", single / of(BARE), at_least=0.8),
        Target("single samples, CPU: monitor / bare consumer", of(f"{MONITOR}, CPU") / of(f"{BARE}, CPU")),
        Target("batches: monitor / bare consumer", batches / of(BARE_BATCHES)),
        Target(
            "batches of 100: samples/s (1,000,000, or 0.8 of the bare consumer)", batches, at_least=target
        ),
        Target("10,000 triggers / 1,000 triggers", of(TEN) / single, at_least=0.8),
        Target("10,000 triggers / 1,000 triggers, CPU", of(f"{TEN}, CPU") / of(f"{MONITOR}, CPU")),
        Target("100,000 series: samples/s", of(MANY), at_least=200_000),
        Target("100,000 series: MiB", of(MEMORY), below=2_048),
        *(
            Target(f"monitor / {peer.label.split(',')[0]}", single / of(peer.label), at_least=peer.times)
            for peer in beside
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
