"""Small files of which every line or row has to be right: each that is not is named, and nothing is run.

Samples that cannot be read are passed over; a release or a report that is passed over would silently
change what is decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from chassis.errors import ConfigError, ConfigErrors, UsageError
from chassis.json_lines import beginning
from schemas.metrics import Unread

T = TypeVar("T")
_MOST_NAMED = 20


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, each with its number from 1. Raises UsageError where the file cannot
    be read, is compressed or in UTF-16."""
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    lines = beginning(whole, str(path)).splitlines()
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def all_of(path: Path, found: Iterable[tuple[int, T | Unread]], mend: str) -> list[T]:
    """What was read; raises ConfigErrors with every line or row that could not be."""
    good: list[T] = []
    wrong: list[ConfigError] = []
    for number, read in found:
        if isinstance(read, Unread):
            wrong.append(ConfigError(read.error, place=f"{path}:{number}", mend=mend))
        else:
            good.append(read)
    if len(wrong) > _MOST_NAMED:
        more = f"{len(wrong) - _MOST_NAMED} more cannot be read"
        wrong = [*wrong[:_MOST_NAMED], ConfigError(more, place=str(path), mend=mend)]
    if wrong:
        raise ConfigErrors(wrong)
    return good
