"""Verdicts of one trigger on one series over a long block, at the seconds where they change.

A verdict only needs to know on which side of a threshold the value is. That is told by counting
the samples of each window above and below it, or by sums whose error is bounded; the few seconds
that this leaves open are worked out exactly, as the banks do it to the last bit. Values
themselves are worked out only where there is something to tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.monitor.domain.engine.held_samples import Frame, Inside, SeriesBlock
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.phases import Verdict
from services.monitor.domain.language.rules import ALL_COUNT, QUANTILES, Aggregate, Rule
from services.monitor.domain.measuring.quantiles import quantile_of, quantiles_of
from services.monitor.domain.measuring.windows import Deciding, Flags, Floats, Ints, Verdicts

SWEPT = frozenset({"last", "avg", "min", "max", "sum", "count", *QUANTILES})
"""The aggregates that can be swept; others are evaluated at each second."""
_LARGE = 1e300
"""Beyond it differences and sums may overflow: everything is worked out exactly."""
_EPSILON = float(np.finfo(np.float64).eps)
_BELOW, _EQUAL, _ABOVE, _OPEN = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Runs:
    """Seconds (ascending, the first of the block first) from which on the verdict holds until the
    next, and how many breaching samples each counts for the first time."""

    at: list[int]
    verdict: list[int]
    fresh: list[int]


def can_be_swept(rule: Rule) -> bool:
    """Whether the trigger's value is the aggregate of one series, and its phase moves as
    ``runs`` knows; any other trigger is evaluated at each second."""
    return rule.aggregate in SWEPT and not rule.is_derived and rule.terms.quorum is None


class Sweep:
    """One trigger's definition over one series' samples in a block."""

    def __init__(self, rule: Rule, block: SeriesBlock) -> None:
        self._rule = rule
        self._block = block
        self._exact = max(map(abs, block.extent)) > _LARGE

    def may_breach(self) -> bool:
        """False where no sample's value, hence no window's, is on the breaching side."""
        rule = self._rule
        if rule.aggregate in ALL_COUNT or self._exact or rule.when.operator in ("==", "!="):
            return True
        lowest, highest = self._block.extent
        # An average of equal values may be off by a rounding.
        slack = 1e-9 * max(abs(lowest), abs(highest)) if rule.aggregate == "avg" else 0.0
        return rule.when.holds(highest + slack) or rule.when.holds(lowest - slack)

    def runs(self, *, only_if_breaching: bool) -> Runs | None:
        """The verdicts; None if there is no breach among them and only those are asked for."""
        frame = self._block.frame(self._rule.window)
        side, values = self._sides(self._rule.when, frame)
        has_data = frame.count > 0
        breach = _accepted(self._rule.when, side) & has_data
        if only_if_breaching and not breach.any():
            return None
        verdict: Verdicts = np.where(breach, np.int8(Verdict.BREACH), np.int8(Verdict.CLEAR))
        if self._rule.clear is not None:
            clear_side, _ = self._sides(self._rule.clear, frame)
            verdict[~breach & ~_accepted(self._rule.clear, clear_side)] = Verdict.BETWEEN
        verdict[~has_data] = Verdict.NO_DATA
        if values is not None:
            # A sum or a difference that overflowed is no number, and so no data.
            verdict[~np.isfinite(values)] = Verdict.NO_DATA
        return self._shortened(frame, verdict)

    def values(self) -> tuple[Ints, Floats]:
        """The seconds at which the window changes, and the value from each of them on; NaN where
        there is no data."""
        frame = self._block.frame(self._rule.window)
        some = frame.count > 0
        found = np.full(len(frame.at), np.nan)
        if self._rule.aggregate == "last":
            found[some] = self._last_values(frame)[some]
        elif some.any():
            found[some] = self._values(frame.low[some], frame.high[some])
        return frame.at, found

    def inside_at(self, second: int) -> Inside:
        """The samples that the window holds at ``second``."""
        return self._block.window_at(second, self._rule.window)

    def standing(self, inside: Inside) -> int:
        """How many of the samples breach."""
        if self._rule.aggregate in ALL_COUNT:
            return len(inside)
        return sum(map(self._rule.when.holds, inside.values))

    def deciding(self, inside: Inside) -> Deciding:
        """Between which offsets the samples are."""
        if self._rule.aggregate == "last":
            newest = inside.lists.offset[inside.newest]
            return Deciding(newest, newest)
        offsets = inside.offsets
        return Deciding(min(offsets), max(offsets))

    def _counted(self, values: Floats) -> Flags:
        """Which samples count as breaching: under a sum or a count, each."""
        if self._rule.aggregate in ALL_COUNT:
            return np.ones(len(values), dtype=np.bool_)
        return _holds(self._rule.when, values)

    def _shortened(self, frame: Frame, verdict: Verdicts) -> Runs:
        """Leave out the seconds that repeat the one before and count no sample for a breach."""
        fresh = np.zeros(len(frame.at), dtype=np.int64)
        new = np.flatnonzero(self._block.fresh(self._rule.window) & self._counted(self._block.value))
        if len(new):
            place = np.searchsorted(frame.at, self._block.arrived[new])
            fresh += np.bincount(place, minlength=len(frame.at))
        keep = (fresh > 0) & (verdict == Verdict.BREACH)
        keep[0] = True
        keep[1:] |= verdict[1:] != verdict[:-1]
        return Runs(frame.at[keep].tolist(), verdict[keep].tolist(), fresh[keep].tolist())

    def _sides(self, condition: Condition, frame: Frame) -> tuple[Verdicts, Floats | None]:
        """On which side of the threshold the value of each second is; the values, where all of
        them had to be worked out. A second without data may be on any side."""
        if self._rule.aggregate == "last":
            return _side_of(self._last_values(frame), condition.threshold), None
        if self._rule.aggregate == "count":
            return _side_of(frame.count.astype(np.float64), condition.threshold), None
        if self._exact:
            values = np.zeros(len(frame.at))
            some = frame.count > 0
            values[some] = self._values(frame.low[some], frame.high[some])
            return _side_of(values, condition.threshold), values
        side = self._sides_of_sum(condition, frame)
        if side is None:
            side = self._sides_by_counting(condition, frame)
        undecided = np.flatnonzero((side == _OPEN) & (frame.count > 0))
        if len(undecided):
            exact = self._values(frame.low[undecided], frame.high[undecided])
            side[undecided] = _side_of(exact, condition.threshold)
        return side, None

    def _last_values(self, frame: Frame) -> Floats:
        """The newest sample's value at each second; any value where there is none."""
        block = self._block
        newest = np.maximum(frame.high - 1, 0)
        if (block.second[1:] == block.second[:-1]).any():
            order = np.argsort(block.time, kind="stable")
            place = np.searchsorted(block.second[order], frame.at, side="right")
            newest = order[np.maximum(place - 1, 0)]
        return block.value[newest]

    def _sides_of_sum(self, condition: Condition, frame: Frame) -> Verdicts | None:
        """For sums and averages: by differences of running sums, open within their error."""
        aggregate = self._rule.aggregate
        if aggregate not in ("sum", "avg"):
            return None
        value = self._block.value
        upto = _running(value)
        size = float(np.abs(value).sum())
        limit = frame.count * condition.threshold if aggregate == "avg" else condition.threshold
        above = (upto[frame.high] - upto[frame.low]) - limit
        # A sum of n numbers is off by less than n eps times the sum of their sizes.
        error = 16 * _EPSILON * ((len(value) + 16) * size + len(value) * abs(condition.threshold))
        side: Verdicts = np.full(len(above), _OPEN, dtype=np.int8)
        side[above > error] = _ABOVE
        side[above < -error] = _BELOW
        return side

    def _sides_by_counting(self, condition: Condition, frame: Frame) -> Verdicts:
        """For ranks: the value lies between the samples of rank ``lower`` and ``upper``, so it is
        above where the lower one is, and not above where the upper one is not."""
        value, count = self._block.value, frame.count
        more = _counted_before(value > condition.threshold)
        less = _counted_before(value < condition.threshold)
        not_above = count - (more[frame.high] - more[frame.low])
        below = less[frame.high] - less[frame.low]
        lower, upper, rounded = self._ranks(count)
        side: Verdicts = np.full(len(count), _OPEN, dtype=np.int8)
        side[(upper < not_above) & (lower >= below)] = _EQUAL
        side[lower >= not_above] = _ABOVE
        side[upper < below] = _BELOW
        if rounded.any():
            side[rounded & (lower != upper)] = _OPEN
        return side

    def _ranks(self, count: Ints) -> tuple[Ints, Ints, Flags]:
        """The ranks (from 0) of the samples that the value lies between, and where the way between
        them is so near its end that a rounding could pass it."""
        aggregate = self._rule.aggregate
        if aggregate == "max":
            return count - 1, count - 1, np.zeros(len(count), dtype=np.bool_)
        if aggregate == "min":
            none = np.zeros(len(count), dtype=np.int64)
            return none, none, none.astype(np.bool_)
        rank = (count - 1) * QUANTILES[aggregate]
        lower = np.floor(rank).astype(np.int64)
        upper = np.minimum(lower + 1, count - 1)
        return lower, upper, (rank - lower) > 0.999

    def _values(self, low: Ints, high: Ints) -> Floats:
        """The aggregate of the samples ``low`` to ``high`` (exclusive) of each window."""
        aggregate = self._rule.aggregate
        with np.errstate(over="ignore", invalid="ignore"):
            if aggregate in QUANTILES:
                return quantiles_of(self._block.value, low, high, QUANTILES[aggregate])
            if aggregate in ("sum", "avg"):
                total = self._sums(low, high)
                return total if aggregate == "sum" else total / (high - low)
            if aggregate == "count":
                return (high - low).astype(np.float64)
            extreme = np.min if aggregate == "min" else np.max
            value = self._block.value
            return np.array([extreme(value[a:b]) for a, b in zip(low, high, strict=True)])

    def _sums(self, low: Ints, high: Ints) -> Floats:
        """Each second's samples added in their order, then the seconds from the oldest on."""
        second = self._block.second
        begins = np.concatenate([[True], second[1:] != second[:-1]])
        pane_of = np.cumsum(begins) - 1
        panes = np.asarray(np.bincount(pane_of, weights=self._block.value), dtype=np.float64)
        first, beyond = pane_of[low], pane_of[high - 1] + 1
        total: Floats = np.zeros(len(low))
        for at in range(int((beyond - first).max())):
            pane = first + at
            total += np.where(pane < beyond, panes[np.minimum(pane, len(panes) - 1)], 0.0)
        return total


def value_of(aggregate: Aggregate, inside: Inside) -> float:
    """The aggregate over the samples of one window, by the operations of the banks in their order."""
    if aggregate == "last":
        return inside.lists.value[inside.newest]
    values = inside.values
    if aggregate == "count":
        return float(len(values))
    if aggregate in ("min", "max"):
        return min(values) if aggregate == "min" else max(values)
    if aggregate in QUANTILES:
        return quantile_of(values, QUANTILES[aggregate])
    total = pane = 0.0
    before = None
    for second, value in zip(inside.seconds, values, strict=True):
        if second != before:
            total, pane, before = total + pane, 0.0, second
        pane += value
    total += pane
    return total if aggregate == "sum" else total / len(values)


def _running(values: Floats) -> Floats:
    """The sum of the values before each place, and of all."""
    upto: Floats = np.zeros(len(values) + 1)
    np.cumsum(values, out=upto[1:])
    return upto


def _counted_before(flags: Flags) -> Ints:
    """How many flags are set before each place, and of all."""
    upto: Ints = np.zeros(len(flags) + 1, dtype=np.int64)
    np.cumsum(flags, out=upto[1:])
    return upto


def _side_of(values: Floats, threshold: float) -> Verdicts:
    side: Verdicts = np.full(len(values), _EQUAL, dtype=np.int8)
    side[values > threshold] = _ABOVE
    side[values < threshold] = _BELOW
    return side


def _accepted(condition: Condition, side: Verdicts) -> Flags:
    above, equal, below = condition.accepts
    accepts = np.array([below, equal, above, False])
    return accepts[side]


def _holds(condition: Condition, values: Floats) -> Flags:
    return _accepted(condition, _side_of(values, condition.threshold))
