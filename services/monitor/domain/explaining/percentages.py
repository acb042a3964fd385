"""How far a value is from another one, in words."""

from __future__ import annotations

import math

from services.monitor.domain.engine.outcomes import judgement
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.rules import Check

_MOST = 1e4
"""A factor of more than this is no longer told in per cent."""


def percent(share: float) -> str:
    """``+60 %``, or a multiple where per cent say nothing to a reader."""
    if abs(share) < _MOST:
        return f"{100 * share:+.6g} %"
    if math.isinf(share):
        return f"too far {'above' if share > 0 else 'below'} to tell"
    return f"{share:+.3g} times"


def percent_of_change(now: float, value: float) -> str | None:
    """How far ``value`` is from ``now``: ``+60.0 %``; None where per cent say nothing."""
    if not now or value == now:
        return None
    share = value / abs(now) - math.copysign(1.0, now)
    return f"{100 * share:+.1f} %" if abs(share) < _MOST else None


def threshold_in_percent(value: float) -> str:
    """As a trigger file takes it: ``60 %``; what is far too much for that as the number itself."""
    return f"{100 * value:.13g} %" if abs(value) < _MOST else f"{value:.15g}"


def judgement_in_percent(check: Check, share: float) -> str:
    """Which of the check's two thresholds the share satisfies: ``not > 50 %``."""
    words = judgement(check.when, check.clear, share)
    for condition in (check.when, check.clear):
        if condition is not None:
            words = words.replace(str(condition), _in_percent(condition))
    return words


def _in_percent(condition: Condition) -> str:
    return f"{condition.operator} {threshold_in_percent(condition.threshold)}"
