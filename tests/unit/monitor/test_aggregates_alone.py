"""No code asks which aggregate it has: what differs between them is in their own files, and what is known
of them in their traits. So adding one touches no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.monitor.domain.language.aggregates import AGGREGATES

ROOT = Path(__file__).parents[3]
LISTS = {
    ROOT / "services/monitor/domain/language/aggregates.py",
    ROOT / "services/monitor/domain/measuring/registry.py",
}
OWN = ROOT / "services/monitor/domain/measuring/aggregates"
FOREIGN = ROOT / "services/monitor/domain/ingest"
"""Its `sum` and `count` are those of OpenTelemetry."""


def questions(source: str) -> Iterator[int]:
    """The lines at which a name of an aggregate is compared with, matched, or listed beside another."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            asked = any(_is_name(each) for each in (node.left, *node.comparators))
        elif isinstance(node, ast.MatchValue):
            asked = _is_name(node.value)
        elif isinstance(node, ast.Set | ast.List | ast.Tuple):
            asked = sum(map(_is_name, node.elts)) > 1
        elif isinstance(node, ast.Dict):
            asked = sum(key is not None and _is_name(key) for key in node.keys) > 1
        else:
            continue
        if asked:
            yield node.lineno if not isinstance(node, ast.MatchValue) else node.value.lineno


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in AGGREGATES


def _asking() -> list[Path]:
    files = [*(ROOT / "services/monitor").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]
    return [file for file in files if file not in LISTS and OWN not in file.parents]


def test_nobody_asks_for_an_aggregate_by_its_name() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in _asking()
        if FOREIGN not in file.parents
        for line in questions(file.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "question",
    [
        'if rule.aggregate == "last": pass',
        'if "p95" != name: pass',
        'if aggregate in ("sum", "count"): pass',
        'chosen = aggregate in {"sum", "avg"}',
        'NAMES = frozenset(["min", "max"])',
        'QUANTILES = {"p50": 0.5, "p90": 0.9}',
        'match aggregate:\n    case "sum" | "avg": pass',
    ],
)
def test_a_question_is_found(question: str) -> None:
    assert list(questions(question))


@pytest.mark.parametrize("fine", ['check = Check(metric, "last", 300)', 'kind: Aggregate = "change"'])
def test_naming_one_is_no_question(fine: str) -> None:
    assert not list(questions(fine))
