"""The samples and triggers that the monitor's benchmarks are run on.

A million samples over 1,000 seconds of event time, of 100 series unless said otherwise, each
series with its samples evenly spread. Values are log-normal around 2 s, as latencies are, with
a spell of trouble of 90 s every half hour. Triggers are spread evenly over the metrics: mixed
aggregates over windows from 30 seconds to 10 minutes, a quarter of them p95.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAMPLES = 1_000_000
SECONDS = 1_000
LABELS = '{"host":"node-%02d","zone":"eu-central-1a","version":"4.2.0"}'
_MARGIN_S = 120

SHAPES: Sequence[tuple[str, int, float]] = (
    ("last", 30, 9_000),
    ("avg", 60, 3_000),
    ("max", 120, 14_000),
    ("p95", 60, 6_000),
    ("min", 60, 900),
    ("sum", 120, 3_600_000),
    ("count", 60, 640),
    ("p95", 300, 5_200),
    ("last", 60, 12_000),
    ("avg", 300, 2_800),
)
"""Aggregate, window in seconds, and the threshold that it breaches above."""
HALF_P95: tuple[str, int, float] = ("p95", 120, 5_600)
"""In place of the second ``last`` on every other metric: p95 is a quarter of all."""
_ODD = 9_000.0
WIDER = (1, 2, 3, 5, 10)
WIDEST_S = 600


@dataclass(frozen=True, slots=True)
class Workload:
    """``metrics`` metrics of ``components`` components, each with ``triggers`` triggers; records
    of ``batch`` samples of one component."""

    samples: int = SAMPLES
    seconds: int = SECONDS
    components: int = 10
    metrics: int = 10
    triggers: int = 10
    batch: int = 1

    @property
    def series(self) -> int:
        return self.components * self.metrics

    @property
    def instances(self) -> int:
        return self.series * self.triggers

    @property
    def component_names(self) -> list[str]:
        return [f"component_{number:03d}" for number in range(self.components)]

    @property
    def metric_names(self) -> list[str]:
        return [f"metric_{number:02d}_ms" for number in range(self.metrics)]

    @property
    def start(self) -> int:
        """The first second of samples that are published now, none of which is ahead of its time."""
        return int(time.time()) - self.seconds - _MARGIN_S

    def configure(self, directory: Path) -> None:
        """Write the triggers and targets into a configuration directory."""
        (directory / "rollback").mkdir(parents=True)
        (directory / "rollback" / "triggers.yml").write_text(self.triggers_file(), encoding="utf-8")
        (directory / "targets.yml").write_text('default: "{component}"\n', encoding="utf-8")

    def triggers_file(self) -> str:
        lines = ["triggers:"]
        for number, metric in enumerate(self.metric_names):
            lines += [self._trigger(metric, number + index, index) for index in range(self.triggers)]
        return "\n".join(lines) + "\n"

    def _trigger(self, metric: str, turn: int, index: int) -> str:
        # One trigger a series: the shapes take turns by metric. More: every series has all of them.
        at = (turn if self.triggers < len(SHAPES) else index) % len(SHAPES)
        aggregate, window, threshold = SHAPES[at]
        if at == 8 and turn % 2:
            aggregate, window, threshold = HALF_P95
        variant = index // len(SHAPES)
        wide = min(WIDEST_S, window * WIDER[variant % len(WIDER)])
        of_series = self.samples / self.seconds / self.series
        if of_series < 1.0:
            # A window holds few samples, if any: it takes several odd ones, or many.
            threshold = 2 * _ODD if aggregate == "sum" else 6 if aggregate == "count" else _ODD
        elif aggregate in ("sum", "count"):
            threshold *= wide / window * of_series / 10
        threshold *= 1 + variant / 20
        span = f"staleness: {wide}s" if aggregate == "last" else f"aggregate: {aggregate}, window: {wide}s"
        lasting = 30 if index % 2 else 60
        clear = f', clear: "< {threshold * 0.9:.6g}"' if index % 3 == 0 else ""
        return (
            f'  - {{name: {metric}_{index}, metric: {metric}, {span}, when: "> {threshold:.6g}"{clear}, '
            f"for: {lasting}s, keep_firing_for: 30s, min_samples: 3}}"
        )

    def values(self) -> np.ndarray:
        """The values of [second's turn, series], in the order of the messages."""
        chance = np.random.default_rng(7)
        turns = self.samples // self.series
        values = np.exp(chance.normal(7.4, 0.45, (turns, self.series)))
        at = np.arange(turns)[:, None] * self.seconds / turns
        trouble = (at + 173 * np.arange(self.series)) % 1_800 < 90
        return np.where(trouble, 2.2 * values, values).round(2)

    def messages(self, start: int) -> Iterator[tuple[str, bytes]]:
        """Component and record, in the order of time; ``start`` is the first second."""
        return self._single(start) if self.batch == 1 else self._batches(start)

    def _single(self, start: int) -> Iterator[tuple[str, bytes]]:
        values = self.values()
        turns = len(values)
        names = [(m, c) for m in self.metric_names for c in self.component_names]
        for turn, row in enumerate(values.tolist()):
            at = start + turn * self.seconds / turns
            gap = self.seconds / turns / self.series
            for index, ((metric, component), value) in enumerate(zip(names, row, strict=True)):
                text = (
                    f'{{"metric":"{metric}","component":"{component}","value":{value},'
                    f'"time":{at + index * gap:.3f},"labels":{LABELS % (index % 7)}}}'
                )
                yield component, text.encode()

    def _batches(self, start: int) -> Iterator[tuple[str, bytes]]:
        """Each batch holds consecutive turns of all metrics of one component."""
        values = self.values()
        turns, together = len(values), self.batch // self.metrics
        by_component = values.reshape(turns, self.metrics, self.components)
        names = self.component_names
        for begin in range(0, turns, together):
            for number, component in enumerate(names):
                parts = []
                for turn in range(begin, min(turns, begin + together)):
                    at = start + turn * self.seconds / turns
                    parts += [
                        f'{{"metric":"{metric}","value":{value},"time":{at:.3f}}}'
                        for metric, value in zip(
                            self.metric_names, by_component[turn, :, number].tolist(), strict=True
                        )
                    ]
                labels = LABELS % (number % 7)
                text = f'{{"component":"{component}","labels":{labels},"samples":[{",".join(parts)}]}}'
                yield component, text.encode()
