"""How commands print: tables that people read and cut, JSON that programs read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, TextIO

import typer


class Output(StrEnum):
    """The form of a command's answer on standard output."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="The form of the answer.")]


def write_json(value: Any) -> None:
    """Print ``value`` as one JSON document: times by RFC 3339, what else JSON does not know as text."""
    sys.stdout.write(json.dumps(value, indent=2, default=_as_text) + "\n")


def _as_text(value: object) -> str:
    return rfc3339(value) if isinstance(value, datetime) else str(value)


def write_table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, file: TextIO | None = None
) -> None:
    """Print aligned columns under ``headings`` (to standard output, unless ``file`` is given); None is
    printed as a dash."""
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for line in [list(headings), *cells]:
        padded = "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        (file or sys.stdout).write(padded.rstrip() + "\n")


def rfc3339(at: datetime) -> str:
    """``2026-01-01T00:00:00Z``, with fractions of the second where there are some."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def clock(at: datetime | None) -> str | None:
    """The second, for a table: one word, which can be given to an option as it is."""
    return None if at is None else rfc3339(at.replace(microsecond=0))


def moment(time: float) -> str:
    """``2026-01-01T00:00:00.000Z``."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
