"""Figures of a benchmark: a table for people, ``.backout/bench/<name>.json`` for programs."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECTORY = Path(".backout") / "bench"


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio or a figure, and what it has to be; without either bound it is only told."""

    label: str
    value: float
    at_least: float | None = None
    below: float | None = None

    @property
    def is_met(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.below is None or self.value < self.below
        )

    @property
    def wanted(self) -> str:
        if self.at_least is not None:
            return f"at least {_shown(self.at_least)}"
        return "" if self.below is None else f"below {_shown(self.below)}"

    @property
    def verdict(self) -> str:
        if not self.wanted:
            return ""
        return "met" if self.is_met else "MISSED"


Figures = Mapping[str, tuple[str, Sequence[float]]]
"""Unit and runs by label."""


def report(name: str, figures: Figures, targets: Sequence[Target]) -> int:
    """Print the table with the targets and write the file; 1 if one of them is missed."""
    write_figures(name, figures, {target.label: target.value for target in targets}, targets)
    return 0 if all(target.is_met for target in targets) else 1


def write_figures(
    name: str, figures: Figures, ratios: Mapping[str, float], targets: Sequence[Target] = ()
) -> Path:
    """Print the table and write the file; returns its path."""
    document = {
        "name": name,
        "machine": machine(),
        "figures": {
            label: {"unit": unit, "runs": list(runs), "median": statistics.median(runs)}
            for label, (unit, runs) in figures.items()
        },
        "ratios": dict(ratios),
        "targets": {
            target.label: {"value": target.value, "wanted": target.wanted, "met": target.is_met}
            for target in targets
            if target.wanted
        },
    }
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    _print_table(figures, ratios, {target.label: target for target in targets})
    print(f"written to {path}")
    return path


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "python": platform.python_version(),
    }


def _print_table(figures: Figures, ratios: Mapping[str, float], targets: Mapping[str, Target]) -> None:
    width = max(len(label) for label in (*figures, *ratios))
    print(f"\n{'':{width}}  {'median':>12}  {'lowest':>12}  {'highest':>12}  unit")
    for label, (unit, runs) in figures.items():
        cells = (statistics.median(runs), min(runs), max(runs))
        print(f"{label:{width}}  {'  '.join(f'{_shown(cell):>12}' for cell in cells)}  {unit}")
    for label, ratio in ratios.items():
        target = targets.get(label)
        told = "" if target is None else f"  {target.wanted:<20}  {target.verdict}"
        print(f"{label:{width}}  {_shown(ratio):>12}{told}".rstrip())


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
