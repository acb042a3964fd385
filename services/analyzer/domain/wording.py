"""Numbers, durations and times as people read them: the same value always gives the same text."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = (("_ms", "ms"), ("_mb", "MB"), ("_bytes", "B"), ("_seconds", "s"), ("seconds_per_page", "s"))


def number(value: float) -> str:
    """Four significant digits, thousands grouped, no exponent where it can be read without."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1_000_000_000 or size < 0.0001:
        return f"{value:.3e}"
    if size >= 1_000:
        return f"{value:,.0f}"
    digits = 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    if size < 0.1:
        digits = 4
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def sentence(text: str) -> str:
    """With a capital letter at its beginning, unless that is the name of a metric or of a component."""
    first = text.split(" ", 1)[0].rstrip(",.:;")
    return text[:1].upper() + text[1:] if first.isalpha() else text


def unit_of(metric: str) -> str:
    """The unit that a metric's name ends with, or an empty text."""
    return next((unit for ending, unit in _UNITS if metric.endswith(ending)), "")


def quantity(value: float, metric: str) -> str:
    """A value of a metric with its unit."""
    return f"{number(value)} {unit_of(metric)}".rstrip()


def duration(seconds: float) -> str:
    """``0.42 s``, ``12.3 s``, ``2 min 05 s``, ``1 h 02 min``."""
    sign, size = ("-" if seconds < 0 else ""), abs(seconds)
    if size < 10:
        return f"{sign}{size:.2f} s"
    if round(size, 1) < 60:
        return f"{sign}{size:.1f} s"
    whole = round(size)
    if whole < 3600:
        return f"{sign}{whole // 60} min {whole % 60:02d} s"
    return f"{sign}{whole // 3600} h {whole % 3600 // 60:02d} min"


def clock(at: datetime) -> str:
    """``14:03:22.120``, UTC."""
    return at.astimezone(UTC).strftime("%H:%M:%S.") + f"{at.microsecond // 1000:03d}"


def day_and_clock(at: datetime) -> str:
    """``2026-01-01 14:03:22 UTC``."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """``1 step``, ``3 steps``."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
