"""Whoever writes a trigger finds each aggregate, and no other, in the table of the trigger language."""

from __future__ import annotations

import re
from pathlib import Path

from services.monitor.domain.language.aggregates import AGGREGATES

DOCS = Path(__file__).parents[3] / "docs" / "triggers.md"


def test_the_table_of_aggregates_lists_each_and_no_other() -> None:
    section = DOCS.read_text(encoding="utf-8").split("\n## Aggregates\n")[1].split("\n## ")[0]
    table = section.split("| Aggregate | Value |\n")[1].split("\n\n")[0]
    first_cells = [row.split("|")[1] for row in table.splitlines()[1:]]
    listed = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(listed) == sorted(AGGREGATES)
