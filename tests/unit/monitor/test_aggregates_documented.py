"""Whoever writes a trigger finds each aggregate, and no other, in the table of the trigger language, and
what the table says of each is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.monitor.domain.language.aggregates import AGGREGATES, BASELINE_AGGREGATES, TRAITS, Aggregate

DOCS = Path(__file__).parents[3] / "docs" / "triggers.md"
HEAD = "| Aggregate | Value | Breaching sample | Baseline |\n"


def _rows() -> list[list[str]]:
    section = DOCS.read_text(encoding="utf-8").split("\n## Aggregates\n")[1].split("\n## ")[0]
    table = section.split(HEAD)[1].split("\n\n")[0]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[1:]]


def _names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_the_table_of_aggregates_lists_each_and_no_other() -> None:
    assert sorted(name for row in _rows() for name in _names(row[0])) == sorted(AGGREGATES)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_the_table_says_what_counts_and_what_is_compared(aggregate: Aggregate) -> None:
    ((_, _, breaching, baseline),) = (row for row in _rows() if aggregate in _names(row[0]))
    traits = TRAITS[aggregate]
    of = "none" if traits.is_relative else "of samples" if traits.is_level else "of values"
    assert (breaching, baseline) == ("its value" if traits.is_level else "each", of)


def test_the_aggregates_of_a_baseline_are_those_listed() -> None:
    (row,) = re.findall(
        r"\| `aggregate` \| the condition's own.*\| (.*) \|", DOCS.read_text(encoding="utf-8")
    )
    assert tuple(_names(row)) == BASELINE_AGGREGATES
