"""Triggers on more than one value: ratios of two metrics, several conditions at once, and values
that are compared with what they were before a release.

Each value comes from a row of a bank of its own. What a second's verdicts make together is
three-valued logic with the missing value between clear and breach: ``all`` is what its least
verdict says, ``any`` what its greatest says, so that missing data decides nothing that the
other conditions leave open. Where the component's release leaves no room for a breach, a second is
clear, whatever the values are.
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
    Flags,
    Floats,
    Ints,
    Matrix,
    Verdicts,
    verdicts_by,
)

ANY_VALUE = Condition(">=", -float("inf"))
"""The condition of a ratio's two metrics by themselves: each of their samples counts."""

# By Verdict: no data, clear, between, breach.
_RANK = np.array([1, 0, 2, 3], dtype=np.int8)
_VERDICT_OF_RANK = np.array([Verdict.CLEAR, Verdict.NO_DATA, Verdict.BETWEEN, Verdict.BREACH], dtype=np.int8)
_FOLDS: dict[Join, Callable[..., Verdicts]] = {"all": np.minimum.reduce, "any": np.maximum.reduce}


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
    checks: Sequence[Check], join: Join, parts: Sequence[Sequence[Part]], baseline: float | None = None
) -> DerivedFindings:
    """What the checks find together; ``parts`` holds, for each check, the row of its metric or the
    two rows of its ratio. ``baseline`` is what the value of a check with one is compared with."""
    found = [_of_check(check, of_check, baseline) for check, of_check in zip(checks, parts, strict=True)]
    ranks = _FOLDS[join]([_RANK[verdict] for verdict, _ in found])
    every = tuple(part for of_check in parts for part in of_check)
    fresh: Ints = np.sum([part.fresh for part in every], axis=0)
    values = tuple(value for _, value in found)
    return DerivedFindings(
        _VERDICT_OF_RANK[ranks][None, :], values[0][None, :], fresh[None, :], every, values, len(ranks)
    )


def _of_check(check: Check, parts: Sequence[Part], baseline: float | None) -> tuple[Verdicts, Floats]:
    if check.baseline is not None:
        (part,) = parts
        has_data = (part.verdict != Verdict.NO_DATA) & (baseline is not None)
        relative = relative_to(np.nan if baseline is None else baseline, part.value)
        return _judged(check, np.where(has_data, relative, np.nan), has_data)
    if check.to is None:
        (part,) = parts
        value = np.where(part.verdict == Verdict.NO_DATA, np.nan, part.value)
        return part.verdict, value
    of, to = parts
    has_data = (of.verdict != Verdict.NO_DATA) & (to.verdict != Verdict.NO_DATA) & (to.value != 0.0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        ratio = np.where(has_data, of.value / to.value, np.nan)
    return _judged(check, ratio, has_data)


def _judged(check: Check, value: Floats, has_data: Flags) -> tuple[Verdicts, Floats]:
    when, clear = Conditions(), Conditions()
    when.add(check.when)
    clear.add(check.clear)
    return verdicts_by(when, clear, value[None, :], has_data[None, :])[0], value
