"""Which metrics an alert rule looks at."""

from __future__ import annotations

import re

_SERIES = re.compile(r"_(bucket|count|sum)$")


def base_name(series: str) -> str:
    """The metric that a series is of: a histogram shows several."""
    return _SERIES.sub("", series)


def metrics_in(expression: str) -> set[str]:
    """The metrics of backout in a PromQL expression."""
    return {base_name(name) for name in re.findall(r"\bbackout_[a-z]+_\w+", expression)}
