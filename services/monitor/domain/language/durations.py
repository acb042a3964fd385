"""Durations as operators write them: ``30s``, ``5m``, ``1h30m``.

Triggers are evaluated at each whole second, so a duration is a whole number of seconds.
"""

from __future__ import annotations

import re

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_FORM = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_MAX_TEXT = 60
MAX_SECONDS = 366 * 86_400


def parse_duration(text: str) -> int:
    """The seconds that ``text`` stands for; raises ValueError with what is wrong with it."""
    stripped = text.strip()
    if len(stripped) > _MAX_TEXT:
        raise ValueError(f"{stripped[:_MAX_TEXT]!r}… is too long for a duration")
    match = _FORM.fullmatch(stripped)
    if not stripped or match is None:
        raise ValueError(f"{text!r} is not a duration in whole seconds")
    seconds = sum(
        int(number) * size
        for number, size in zip(match.groups(), _UNITS.values(), strict=True)
        if number is not None
    )
    if seconds > MAX_SECONDS:
        raise ValueError(f"{text!r} is longer than a year")
    return seconds


def format_duration(seconds: int) -> str:
    """The shortest text that ``parse_duration`` reads back: ``300`` gives ``5m``."""
    parts = []
    rest = seconds
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
