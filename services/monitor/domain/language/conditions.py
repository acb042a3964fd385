"""A threshold and how a value is compared with it: ``> 3000``, or ``> 5%`` for ``> 0.05``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

Operator = Literal[">", ">=", "<", "<=", "==", "!="]

# What each operator accepts: values above, equal to, below the threshold.
_ACCEPTS: dict[Operator, tuple[bool, bool, bool]] = {
    ">": (True, False, False),
    ">=": (True, True, False),
    "<": (False, False, True),
    "<=": (False, True, True),
    "==": (False, True, False),
    "!=": (True, False, True),
}
OPERATORS: tuple[Operator, ...] = tuple(_ACCEPTS)
_MAX_SHOWN = 60
_FORM = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*([-+]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*(%?)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    operator: Operator
    threshold: float

    @property
    def accepts(self) -> tuple[bool, bool, bool]:
        """Whether values above, equal to and below the threshold satisfy the condition."""
        return _ACCEPTS[self.operator]

    def holds(self, value: float) -> bool:
        above, equal, below = self.accepts
        return (
            (above and value > self.threshold)
            or (equal and value == self.threshold)
            or (below and value < self.threshold)
        )

    def excludes(self, other: Condition) -> bool:
        """Whether no value satisfies both; known only for conditions that look the other way."""
        upward, downward = (self, other) if self.operator in (">", ">=") else (other, self)
        if upward.operator not in (">", ">=") or downward.operator not in ("<", "<="):
            return False
        if upward.threshold != downward.threshold:
            return downward.threshold < upward.threshold
        return not (upward.operator == ">=" and downward.operator == "<=")

    def __str__(self) -> str:
        return f"{self.operator} {self.threshold:.15g}"


def parse_condition(text: str) -> Condition:
    """Read ``<operator> <number>``, with a ``%`` or without; raises ValueError with what is wrong."""
    match = _FORM.fullmatch(text)
    shown = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
    if match is None:
        operator = shown.strip().split(" ")[0].rstrip("0123456789.…")
        if operator and operator not in OPERATORS:
            raise ValueError(f"{operator!r} is not an operator")
        raise ValueError(f"{shown!r} is not an operator and a number")
    threshold = float(match.group(2)) / (100.0 if match.group(3) else 1.0)
    if not math.isfinite(threshold):
        raise ValueError(f"{shown!r}: that is too large a number")
    operator_read: Operator = next(known for known in OPERATORS if known == match.group(1))
    return Condition(operator_read, threshold)
