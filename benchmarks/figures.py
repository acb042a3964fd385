"""Figures of a benchmark: a table for people, ``.backout/bench/<name>.json`` for programs."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DIRECTORY = Path(".backout") / "bench"
Figures = Mapping[str, tuple[str, Sequence[float]]]
"""Unit and runs by label."""


def write_figures(name: str, figures: Figures, ratios: Mapping[str, float]) -> Path:
    """Print the table and write the file; returns its path."""
    document = {
        "name": name,
        "machine": machine(),
        "figures": {
            label: {"unit": unit, "runs": list(runs), "median": statistics.median(runs)}
            for label, (unit, runs) in figures.items()
        },
        "ratios": dict(ratios),
    }
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    _print_table(figures, ratios)
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


def _print_table(figures: Figures, ratios: Mapping[str, float]) -> None:
    width = max(len(label) for label in (*figures, *ratios))
    print(f"\n{'':{width}}  {'median':>12}  {'lowest':>12}  {'highest':>12}  unit")
    for label, (unit, runs) in figures.items():
        cells = (statistics.median(runs), min(runs), max(runs))
        shown = "  ".join(f"{cell:>12,.0f}" if cell >= 100 else f"{cell:>12.4g}" for cell in cells)
        print(f"{label:{width}}  {shown}  {unit}")
    for label, ratio in ratios.items():
        print(f"{label:{width}}  {ratio:>12.2f}")
