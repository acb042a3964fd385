"""The kinds of field that the entries of trigger files and breakers share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from chassis.yaml_source import Located, Problems
from services.monitor.domain.language.durations import parse_duration

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")

Choice = TypeVar("Choice", bound=str)


def read_name(node: Located) -> str:
    """A name; raises ConfigError for anything else."""
    return checked_name(node.string(), node)


def checked_name(text: str, node: Located) -> str:
    """``text``, which stands at ``node``, if it is a name; raises ConfigError for anything else."""
    if not _NAME.fullmatch(text):
        mend = "Use letters, digits, '_', '.' and '-', up to 128, beginning with a letter or digit"
        raise node.error(f"{text!r} is not a name", mend=mend)
    return text


def read_duration(node: Located, *, least: int) -> int:
    """Whole seconds, ``least`` of them at least; raises ConfigError for anything else."""
    mend = "Write whole seconds, minutes or hours, as in 30s, 5m or 1h30m"
    if isinstance(node.content, int | float) and not isinstance(node.content, bool):
        raise node.error(f"{node.content} has no unit", mend=mend)
    try:
        seconds = parse_duration(node.string())
    except ValueError as error:
        raise node.error(str(error), mend=mend) from None
    if seconds < least:
        raise node.error(f"{node.string()} is shorter than {least}s", mend=mend)
    return seconds


def read_choice(node: Located, choices: Iterable[Choice]) -> Choice:
    """One of ``choices``; raises ConfigError that lists them."""
    known = tuple(choices)
    text = node.one_of(known)
    return next(choice for choice in known if choice == text)


class EntryFields:
    """The fields of one entry; what is wrong with them is added to ``problems``."""

    def __init__(self, node: Located, problems: Problems) -> None:
        self._node = node
        self._problems = problems
        self._fields = node.mapping()

    def _forbid(self, key: str, why: str) -> None:
        if key in self._fields:
            self._problems.add(self._fields[key].error(why, mend=f"Remove `{key}`"))

    def _duration(self, key: str, default: int, *, least: int) -> int:
        if key in self._fields:
            with self._problems.collect():
                return read_duration(self._fields[key], least=least)
        return default

    def _choice(self, key: str, choices: Sequence[Choice], default: Choice) -> Choice:
        if key in self._fields:
            with self._problems.collect():
                return read_choice(self._fields[key], choices)
        return default
