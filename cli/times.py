"""Times as a person gives them to an option."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from chassis.errors import UsageError
from schemas.metrics import MAX_TIME
from services.monitor.domain.language.durations import parse_duration

TIME_HELP = "RFC 3339, epoch seconds, or how long ago (30m)"


def parse_time(option: str, text: str) -> float:
    """RFC 3339 with an offset, epoch seconds, or a duration, which is so long ago: epoch seconds within the
    years of a sample. Raises UsageError."""
    seconds = _as_number(text)
    if seconds is None:
        seconds = _as_ago(text)
    if seconds is None:
        seconds = _parse_rfc3339(option, text)
    if not 0.0 <= seconds <= MAX_TIME:
        raise UsageError(f"{option} {text}: outside the years 1970 to 9999; write epoch seconds, if a number")
    return seconds


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _as_ago(text: str) -> float | None:
    try:
        return time.time() - parse_duration(text)
    except ValueError:
        return None


def _parse_rfc3339(option: str, text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text}: write 2026-01-01T00:00:00Z, epoch seconds, or how long ago, such as 30m"
        ) from None
    if at.tzinfo is None:
        raise UsageError(f"{option} {text}: name the offset from UTC, as in {at.isoformat()}Z")
    return at.astimezone(UTC).timestamp()
