"""Verdicts of one trigger on one series over a long block, at the seconds where they change.

A verdict only needs to know on which side of a threshold the value is. The aggregate tells that of
nearly all windows without their values; the few seconds that this leaves open are worked out exactly,
as the banks do it to the last bit. Values themselves are worked out only where there is something to tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.phases import Verdict
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.measures import Measure
from services.monitor.domain.measuring.registry import measure_of
from services.monitor.domain.measuring.series_block import Inside, SeriesBlock, Steps
from services.monitor.domain.measuring.sides import OPEN, Sides, accepted, sides_of
from services.monitor.domain.measuring.windows import Deciding, Flags, Floats, Ints, Verdicts


@dataclass(frozen=True, slots=True)
class Runs:
    """Seconds (ascending, the first of the block first) from which on the verdict holds until the
    next, and how many breaching samples each counts for the first time."""

    at: list[int]
    verdict: list[int]
    fresh: list[int]


def has_sweep(rule: Rule) -> bool:
    """Whether the trigger's value is the aggregate of one series that can be swept."""
    return measure_of(rule.aggregate) is not None and not rule.is_derived


def can_be_swept(rule: Rule) -> bool:
    """Whether it has a sweep, and its phase moves as ``runs`` knows; any other trigger is evaluated at each
    second."""
    return has_sweep(rule) and rule.terms.quorum is None


class Sweep:
    """One trigger's definition over one series' samples in a block.

    Raises ValueError for a trigger whose aggregate is not swept.
    """

    def __init__(self, rule: Rule, block: SeriesBlock) -> None:
        measure = measure_of(rule.aggregate)
        if measure is None:
            raise ValueError(f"{rule.aggregate} is not swept")
        self._rule, self._traits = rule, rule.traits
        self._block = block
        self._measure: Measure = measure
        self._exact = max(map(abs, block.extent)) > measure.largest

    def may_breach(self) -> bool:
        """False where no window's value is on the breaching side, as far as that is soon told."""
        when = self._rule.when
        if self._exact or when.operator in ("==", "!="):
            return True
        bounds = self._measure.bounds(self._block)
        return bounds is None or when.holds(bounds[1]) or when.holds(bounds[0])

    def runs(self, *, only_if_breaching: bool) -> Runs | None:
        """The verdicts; None if there is no breach among them and only those are asked for."""
        steps = self._block.steps(self._rule.window)
        sides, values = self._sides(self._rule.when, steps)
        has_data = steps.count > 0
        breach = accepted(self._rule.when, sides) & has_data
        if only_if_breaching and not breach.any():
            return None
        verdict: Verdicts = np.where(breach, np.int8(Verdict.BREACH), np.int8(Verdict.CLEAR))
        if self._rule.clear is not None:
            clear_sides, _ = self._sides(self._rule.clear, steps)
            verdict[~breach & ~accepted(self._rule.clear, clear_sides)] = Verdict.BETWEEN
        verdict[~has_data] = Verdict.NO_DATA
        if values is not None:
            # A sum or a difference that overflowed is no number, and so no data.
            verdict[~np.isfinite(values)] = Verdict.NO_DATA
        return self._shortened(steps, verdict)

    def values(self) -> tuple[Ints, Floats]:
        """The seconds at which the window changes, and the value from each of them on; NaN where
        there is no data."""
        steps = self._block.steps(self._rule.window)
        return steps.at, self._values(steps, np.nan)

    def value(self, inside: Inside) -> float:
        """The value over the samples of one window."""
        return self._measure.value(inside)

    def inside_at(self, second: int) -> Inside:
        """The samples that the window holds at ``second``."""
        return self._block.window_at(second, self._rule.window)

    def standing(self, second: int, fresh: int) -> int:
        """How many of the samples in the window breach; ``fresh`` of them count for the first time."""
        if self._traits.is_newest:
            return max(1, fresh)
        inside = self.inside_at(second)
        if not self._traits.is_level:
            return len(inside)
        return sum(map(self._rule.when.holds, inside.values))

    def deciding(self, inside: Inside) -> Deciding:
        """Between which offsets the samples are."""
        if self._traits.is_newest:
            newest = inside.lists.offset[inside.newest]
            return Deciding(newest, newest)
        offsets = inside.offsets
        return Deciding(min(offsets), max(offsets))

    def _counted(self, values: Floats) -> Flags:
        """Which samples count as breaching."""
        if not self._traits.is_level:
            return np.ones(len(values), dtype=np.bool_)
        return accepted(self._rule.when, sides_of(values, self._rule.when.threshold))

    def _shortened(self, steps: Steps, verdict: Verdicts) -> Runs:
        """Leave out the seconds that repeat the one before and count no sample for a breach."""
        fresh = np.zeros(len(steps.at), dtype=np.int64)
        new = np.flatnonzero(self._block.fresh(self._rule.window) & self._counted(self._block.value))
        if len(new):
            place = np.searchsorted(steps.at, self._block.arrived[new])
            fresh += np.bincount(place, minlength=len(steps.at))
        keep = (fresh > 0) & (verdict == Verdict.BREACH)
        keep[0] = True
        keep[1:] |= verdict[1:] != verdict[:-1]
        return Runs(steps.at[keep].tolist(), verdict[keep].tolist(), fresh[keep].tolist())

    def _sides(self, condition: Condition, steps: Steps) -> tuple[Sides, Floats | None]:
        """On which side of the threshold the value of each second is; the values, where all of
        them had to be worked out. A second without data may be on any side."""
        threshold = condition.threshold
        if self._exact:
            values = self._values(steps, 0.0)
            return sides_of(values, threshold), values
        sides = self._measure.sides(self._block, steps, threshold)
        if sides.max() == OPEN:
            undecided = np.flatnonzero((sides == OPEN) & (steps.count > 0))
            if len(undecided):
                sides[undecided] = sides_of(self._swept(steps.only(undecided)), threshold)
        return sides, None

    def _values(self, steps: Steps, without_data: float) -> Floats:
        values = np.full(len(steps.at), without_data)
        some = np.flatnonzero(steps.count > 0)
        if len(some):
            values[some] = self._swept(steps.only(some))
        return values

    def _swept(self, steps: Steps) -> Floats:
        with np.errstate(over="ignore", invalid="ignore"):
            return self._measure.swept(self._block, steps)
