"""Triggers on more than one value: ratios of two metrics, several conditions at once, and values
that are compared with what they were before a release.

Each value comes from a row of a bank of its own. What a second's verdicts make together is logic with
a missing value, which could be anything: ``all`` is what its least verdict says, ``any`` what its
greatest says, and missing data is no data where the other conditions leave it open. Where the
component's release leaves no room for a breach, a second is clear, whatever the values are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.phases import Verdict
from services.monitor.domain.language.rules import Check, Join
from services.monitor.domain.measuring.baselines import relative_to
from services.monitor.domain.measuring.windows import (
    NONE,
    Conditions,
    Deciding,
    Findings,
    Floats,
    Ints,
    Matrix,
    Verdicts,
    verdicts_by,
)

ANY_VALUE = Condition(">=", -float("inf"))
"""The condition of a ratio's two metrics by themselves: each of their samples counts."""


class _Fold:
    """Joins verdicts: the ``choose`` of their places in ``order``."""

    def __init__(self, order: Sequence[Verdict], choose: Callable[..., Verdicts]) -> None:
        self._order = np.array(order, dtype=np.int8)
        self._places = self._order.argsort().astype(np.int8)
        self._choose = choose

    def __call__(self, verdicts: Sequence[Verdicts]) -> Verdicts:
        found: Verdicts = self._order[self._choose([self._places[each] for each in verdicts])]
        return found


# Without data a condition could as well breach, so that `any` is not merely between; nor is `all`, which
# could be clear.
_FOLDS: dict[Join, _Fold] = {
    "all": _Fold((Verdict.CLEAR, Verdict.NO_DATA, Verdict.BETWEEN, Verdict.BREACH), np.minimum.reduce),
    "any": _Fold((Verdict.CLEAR, Verdict.BETWEEN, Verdict.NO_DATA, Verdict.BREACH), np.maximum.reduce),
}


@dataclass(frozen=True)
class Part:
    """One row of what a bank found in a block."""

    findings: Findings
    row: int

    @cached_property
    def verdict(self) -> Verdicts:
        return self.findings.verdicts(self.row)

    @cached_property
    def value(self) -> Floats:
        return self.findings.values(self.row)

    @property
    def fresh(self) -> Ints:
        return self.findings.fresh(self.row)


@dataclass(slots=True)
class DerivedFindings(Matrix):
    """The block of one trigger on one group: arrays of [1, seconds].

    ``of_checks`` are the values of every check. A ratio counts the samples of both its metrics, and several
    conditions the breaching samples of each of them, for ``min_samples``. From column ``closed`` on
    the release is too long ago for a breach.
    """

    parts: tuple[Part, ...]
    of_checks: tuple[Floats, ...]
    closed: int

    def close(self, column: int) -> None:
        """From this column on every second is clear."""
        self.closed = column
        self.verdict[0, column:] = Verdict.CLEAR

    def is_too_late(self, column: int) -> bool:
        return column >= self.closed

    def standing(self, row: int, column: int) -> int:
        return sum(part.findings.standing(part.row, column) for part in self._with_data(column))

    def deciding(self, row: int, column: int) -> Deciding:
        found = [part.findings.deciding(part.row, column) for part in self._with_data(column)]
        return Deciding(
            min((each.first_offset for each in found), default=NONE),
            max((each.last_offset for each in found), default=NONE),
        )

    def further(self, column: int) -> tuple[float | None, ...]:
        """The values of the further checks at one second; None without data."""
        found = (float(values[column]) for values in self.of_checks[1:])
        return tuple(value if np.isfinite(value) else None for value in found)

    def _with_data(self, column: int) -> list[Part]:
        return [part for part in self.parts if part.verdict[column] != Verdict.NO_DATA]


def derive(
    checks: Sequence[Check],
    join: Join,
    parts: Sequence[Sequence[Part]],
    figures: Sequence[float | None] | None = None,
) -> DerivedFindings:
    """What the checks find together; ``parts`` holds, for each check, the row of its metric or the
    two rows of its ratio, and ``figures`` what its value is compared with, if it has a baseline."""
    each = zip(checks, parts, figures or [None] * len(checks), strict=True)
    found = [_of_check(check, of_check, figure) for check, of_check, figure in each]
    joined = _FOLDS[join]([verdict for verdict, _ in found])
    every = tuple(part for of_check in parts for part in of_check)
    fresh: Ints = np.sum([part.fresh for part in every], axis=0)
    values = tuple(value for _, value in found)
    return DerivedFindings(joined[None, :], values[0][None, :], fresh[None, :], every, values, len(joined))


def _of_check(check: Check, parts: Sequence[Part], figure: float | None) -> tuple[Verdicts, Floats]:
    value = _measured(parts)
    if check.baseline is None:
        if check.to is None:
            return parts[0].verdict, value
        return _judged(check, value)
    if figure is None:
        # There is nothing to compare with: that is no breach, whether there is data or not.
        return np.full(len(value), Verdict.CLEAR, dtype=np.int8), np.full(len(value), np.nan)
    return _judged(check, relative_to(figure, value))


def _measured(parts: Sequence[Part]) -> Floats:
    """The aggregate of each second, or the ratio of two; NaN where there is no data."""
    measured = [np.where(part.verdict == Verdict.NO_DATA, np.nan, part.value) for part in parts]
    if len(parts) == 1:
        return measured[0]
    of, to = measured
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return np.where(to != 0.0, of / to, np.nan)


def _judged(check: Check, value: Floats) -> tuple[Verdicts, Floats]:
    when, clear = Conditions(), Conditions()
    when.add(check.when)
    clear.add(check.clear)
    has_data = ~np.isnan(value)
    return verdicts_by(when, clear, value[None, :], has_data[None, :])[0], value
