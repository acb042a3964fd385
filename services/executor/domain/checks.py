"""Holding what was seen against what was expected."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.rollbacks import Check
from services.executor.domain.playbook import Limit
from services.executor.domain.templates import TemplateError, pick


def difference(expected: Any, found: Any, *, at: str = "") -> str | None:
    """Where ``found`` does not contain ``expected``, in words; None where it does.

    Of a mapping only the keys that are expected count; lists and scalars have to be equal.
    """
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            return f"{at or 'the answer'} is no mapping"
        for key, value in expected.items():
            place = f"{at}.{key}" if at else str(key)
            if key not in found:
                return f"{place} is missing"
            inner = difference(value, found[key], at=place)
            if inner is not None:
                return inner
        return None
    if isinstance(expected, list | tuple):
        return _list_difference(list(expected), found, at or "the answer")
    # JSON's true is not its 1, though Python's is.
    same = expected == found and isinstance(expected, bool) == isinstance(found, bool)
    return None if same else f"{at or 'the answer'} is {_short(found)}, not {_short(expected)}"


def _list_difference(expected: list[Any], found: Any, at: str) -> str | None:
    if not isinstance(found, list) or len(found) != len(expected):
        return f"{at} is {_short(found)}, not {_short(expected)}"
    for index, (one, other) in enumerate(zip(expected, found, strict=True)):
        inner = difference(one, other, at=f"{at}.{index}")
        if inner is not None:
            return inner
    return None


def hold_against(limits: Iterable[Limit], answer: Any) -> tuple[Check, ...]:
    """One check for each limit; a number that is missing or not finite fails its check."""
    return tuple(_check(limit, answer) for limit in limits)


def _check(limit: Limit, answer: Any) -> Check:
    bound = limit.at_least if limit.at_least is not None else limit.at_most
    try:
        value = pick(answer, limit.path)
    except TemplateError as error:
        return Check(name=limit.name, passed=False, limit=bound, unit=limit.unit, detail=str(error))
    if not _is_finite(value):
        detail = f"{limit.path} is {_short(value)}, not a number"
        return Check(name=limit.name, passed=False, limit=bound, unit=limit.unit, detail=detail)
    passed = (limit.at_least is None or value >= limit.at_least) and (
        limit.at_most is None or value <= limit.at_most
    )
    words = [] if limit.at_least is None else [f"at least {limit.at_least:g}"]
    words += [] if limit.at_most is None else [f"at most {limit.at_most:g}"]
    return Check(
        name=limit.name,
        passed=passed,
        value=float(value),
        limit=bound,
        unit=limit.unit,
        detail=" and ".join(words),
    )


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of more digits than a float has room for
        return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
