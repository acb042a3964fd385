"""Why a trigger fired or did not, and the nearest change of its definition that would have turned it.

Nothing is estimated: the engine is run again over the same records with the definition changed,
and each number is the edge between a run that fires and one that does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.monitor.domain.columns import NO_SERIES, Columns, Pending, second_of
from services.monitor.domain.conditions import Condition
from services.monitor.domain.durations import format_duration
from services.monitor.domain.engine import PartitionEngine
from services.monitor.domain.held_samples import HeldSamples, Inside, Lists
from services.monitor.domain.outcomes import Outcome
from services.monitor.domain.phases import INACTIVE, State
from services.monitor.domain.rules import Rule
from services.monitor.domain.sweep import Sweep, can_be_swept, value_of
from services.monitor.domain.windows import Floats, Ints

MAX_VALUES = 20_000
"""Thresholds are tried among the values the trigger had: of more than so many, none is."""
_MAX_WORK = 50_000_000
"""With late samples each window is looked through by itself: no more samples than this in all."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Consecutive records of one partition: series 0 is the trigger's, every other sample only
    moves time. ``lateness`` in seconds."""

    columns: Columns
    component: str
    lateness: float
    partition: int = 0

    def due(self) -> Ints:
        """The last second that each record makes due; a second before every other at first."""
        shown = np.maximum.accumulate(self.columns.record_time)
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(shown), np.floor(shown - self.lateness), -1).astype(np.int64)

    def through(self, second: int) -> Recorded:
        """The records that make ``second`` due, and no second after it."""
        due = self.due()
        count = int(np.searchsorted(due, second)) + 1
        if count > len(due):
            return self
        columns = self.columns
        record_time = columns.record_time[:count].copy()
        # A little more, so that taking the lateness off again does not round to the second before.
        record_time[-1] = min(record_time[-1], second + self.lateness + 0.001)
        samples = int(np.searchsorted(columns.record, count))
        cut = Columns(
            columns.record_offset[:count],
            columns.record_append[:count],
            record_time,
            columns.record[:samples],
            columns.series[:samples],
            columns.time[:samples],
            columns.value[:samples],
        )
        return replace(self, columns=cut)


@dataclass(frozen=True, slots=True)
class Seen:
    """A sample of the trigger's series; ``breaches`` where it satisfies `when` by itself."""

    offset: int
    time: float
    value: float
    breaches: bool
    late: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A setting, what it is, and what it would have to be; ``words`` for people. ``value`` is the
    edge itself (``inclusive``: that value is enough)."""

    setting: str
    now: float
    value: float
    inclusive: bool
    words: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the engine finds at second ``at``: it ``fired`` in the seconds asked about or not.

    ``seen`` are the samples from a window and a `for` before the breach on.
    """

    rule: Rule
    component: str
    at: int
    evaluated: int | None
    fired: bool
    state: State
    value: float | None
    changes_of_phase: list[Outcome]
    seen: list[Seen]
    flips: list[Change]
    not_tried: str | None

    @property
    def lasted(self) -> int:
        """The seconds that the breach counts for `for`."""
        return max(0, self.at - self.state.began - self.state.held)


@dataclass(frozen=True, slots=True)
class _Run:
    outcomes: list[Outcome]
    state: State
    evaluated: int | None


def not_explained(rule: Rule) -> str | None:
    """What of this trigger cannot be explained yet; None if nothing stands in the way."""
    if rule.looks_at_releases:
        return "a `baseline`" if rule.baseline is not None else "an `only_within`"
    if rule.is_derived:
        return "a ratio or several conditions"
    if rule.terms.quorum is not None:
        return "a `for` of M of N evaluations"
    return "labels" if rule.selection.labels else None


def explain(rule: Rule, recorded: Recorded, first: int, last: int) -> Explanation:
    """Why ``rule`` was firing at some second from ``first`` to ``last``, or at none of them."""
    records = recorded.through(last)
    found = _run(rule, records)
    fired = _fires(found, first, last)
    values = _values(rule, records)
    flips, not_tried = _Flips(rule, records, first, last, fired, values).all()
    began = first if found.state.phase == "inactive" else min(first, found.state.began)
    at = last if found.evaluated is None else min(last, found.evaluated)
    return Explanation(
        rule=rule,
        component=recorded.component,
        at=at,
        evaluated=found.evaluated,
        fired=fired,
        state=found.state,
        value=_value_at(rule, records, at),
        changes_of_phase=[each for each in found.outcomes if each.is_transition],
        seen=_seen(rule, records, began - rule.window - rule.terms.lasting),
        flips=flips,
        not_tried=not_tried,
    )


def episode(rule: Rule, recorded: Recorded, trigger_id: str) -> tuple[int, int] | None:
    """From the beginning of the breach with this id to its end (or as far as time went); None if
    the engine finds no such breach that fired."""
    found = _run(rule, recorded)
    mine = [each for each in found.outcomes if each.is_transition and each.trigger_id == trigger_id]
    if not any(each.after == "firing" for each in mine):
        return None
    ended = mine[-1].at if mine[-1].after == "inactive" else (found.evaluated or mine[-1].at)
    return mine[0].began, ended


def _run(rule: Rule, recorded: Recorded) -> _Run:
    engine = PartitionEngine(
        [rule], allowed_lateness=recorded.lateness, partition=recorded.partition, sweeping=True
    )
    engine.series.id_of(rule.metric, recorded.component)
    outcomes = engine.advance(recorded.columns)
    state = next((each.state for each in engine.series.instances()), INACTIVE)
    return _Run(outcomes, state, engine.evaluated_through)


def _fires(found: _Run, first: int, last: int) -> bool:
    """Whether the trigger is firing at some second from ``first`` to ``last``."""
    firing = False
    for change in found.outcomes:
        if not change.is_transition or change.at > last:
            continue
        if change.at <= first:
            firing = change.after == "firing"
        elif change.after == "firing":
            return True
    return firing


def _samples(recorded: Recorded) -> tuple[Pending, Ints]:
    """The series' samples, each with the first second that counts it, and which came late."""
    columns = recorded.columns
    mine = columns.series != NO_SERIES
    due = recorded.due()
    before = np.concatenate([[-1], due[:-1]])[columns.record[mine]]
    second = second_of(columns.time[mine])
    first = np.maximum(second, before + 1)
    samples = Pending(
        columns.series[mine], second, first, columns.time[mine], columns.value[mine], columns.offset[mine]
    )
    return samples, (second <= before).astype(np.int64)


def _seen(rule: Rule, recorded: Recorded, since: int) -> list[Seen]:
    samples, late = _samples(recorded)
    recent = samples.second >= since
    samples, late = samples.take(recent), late[recent]
    return [
        Seen(offset, time, value, rule.when.holds(value), bool(was_late))
        for offset, time, value, was_late in zip(
            samples.offset.tolist(),
            samples.time.tolist(),
            samples.value.tolist(),
            late.tolist(),
            strict=True,
        )
    ]


def _inside(samples: Pending, second: int, window: int) -> Inside:
    held = (samples.first <= second) & (samples.second <= second) & (samples.second > second - window)
    part = samples.take(held)
    part = part.take(np.argsort(part.second, kind="stable"))
    columns = (part.second, part.time, part.value, part.offset)
    return Inside.all_of(Lists(*(column.tolist() for column in columns)))


def _value_at(rule: Rule, recorded: Recorded, second: int) -> float | None:
    if not can_be_swept(rule):
        return math.nan
    inside = _inside(_samples(recorded)[0], second, rule.window)
    return value_of(rule.aggregate, inside) if len(inside) else None


def _values(rule: Rule, recorded: Recorded) -> Floats | None:
    """The distinct values that the trigger and its samples had, ascending; None where they are too
    many or it is not known how to work them out."""
    if not can_be_swept(rule):
        return None
    samples, late = _samples(recorded)
    if not len(samples):
        return np.empty(0)
    first, last = int(samples.second.min()), int(samples.second.max()) + rule.window
    if not late.any():
        ((_, block),) = HeldSamples().block(samples, first, last, rule.window)
        found = Sweep(rule, block).values()[1]
    else:
        moments = np.unique(np.concatenate([samples.first, samples.second + rule.window]))
        if len(moments) * len(samples) > _MAX_WORK:
            return None
        windows = [_inside(samples, moment, rule.window) for moment in moments.tolist()]
        found = np.array([value_of(rule.aggregate, each) for each in windows if len(each)])
    # Which samples breach by themselves counts, too: for `min_samples`.
    distinct = np.unique(np.concatenate([found[np.isfinite(found)], samples.value]))
    return None if len(distinct) > MAX_VALUES else distinct


class _Flips:
    """Looks for the nearest threshold, `for` and `min_samples` that turn the answer."""

    def __init__(
        self, rule: Rule, recorded: Recorded, first: int, last: int, fired: bool, values: Floats | None
    ) -> None:
        self._rule, self._recorded = rule, recorded
        self._first, self._last = first, last
        self._fired = fired
        self._values = values

    def all(self) -> tuple[list[Change], str | None]:
        """The changes, and why a threshold was not looked for."""
        found = [self._lasting(), self._min_samples()]
        not_tried = None
        if self._rule.when.operator in ("==", "!="):
            not_tried = f"a threshold of `{self._rule.when.operator}` has no nearest one"
        elif self._values is None:
            not_tried = "the trigger had too many values, or they are not known, to try thresholds"
        else:
            found.insert(0, self._threshold(self._values))
        return [each for each in found if each is not None], not_tried

    def _turns(self, changed: Rule) -> bool:
        return _fires(_run(changed, self._recorded), self._first, self._last) is not self._fired

    def _threshold(self, values: Floats) -> Change | None:
        when = self._rule.when
        upward, includes = when.operator in (">", ">="), when.operator in (">=", "<=")
        raises = upward is self._fired
        # A threshold that equals a value lets `>` pass it by, and `>=` not.
        inclusive = includes is not self._fired
        now = when.threshold
        beyond = values[values >= now] if raises else values[values <= now][::-1]
        edges = beyond.tolist()

        def threshold(value: float) -> float:
            return value if inclusive else math.nextafter(value, math.inf if raises else -math.inf)

        def turns(index: int) -> bool:
            changed = Condition(when.operator, threshold(edges[index]))
            return changed.threshold != now and self._turns(replace(self._rule, when=changed))

        index = _first_true(len(edges), turns)
        if index is None:
            return None
        value = edges[index]
        side = "above" if raises else "below"
        enough = f"{value:.15g}" + (" or " + ("more" if raises else "less") if inclusive else "")
        words = f"a threshold of {enough}" if inclusive else f"a threshold {side} {enough}"
        share = f" ({100 * (value - now) / abs(now):+.1f} %)" if now and value != now else ""
        clear = self._rule.clear
        if clear is not None and not clear.excludes(Condition(when.operator, threshold(value))):
            share += f"; `clear: {clear}` would have to move with it"
        return Change("threshold", now, value, inclusive, f"{words} instead of {now:.15g}{share}")

    def _lasting(self) -> Change | None:
        now = self._rule.terms.lasting
        most = max(now, self._last - self._first) + self._rule.window + now + 1
        found = self._count(now, most, least=0, change=self._with_lasting)
        if found is None:
            return None
        words = f"a `for` of {format_duration(found)}"
        words += f"{' or more' if self._fired else ' or less'} instead of {format_duration(now)}"
        return Change("for", now, found, True, words)

    def _min_samples(self) -> Change | None:
        now = self._rule.terms.min_samples
        most = now + int((self._recorded.columns.series != NO_SERIES).sum()) + 1
        found = self._count(now, most, least=1, change=self._with_min_samples)
        if found is None:
            return None
        words = f"a `min_samples` of {found}{' or more' if self._fired else ' or less'} instead of {now}"
        return Change("min_samples", now, found, True, words)

    def _with_lasting(self, seconds: int) -> Rule:
        return replace(self._rule, terms=replace(self._rule.terms, lasting=seconds))

    def _with_min_samples(self, count: int) -> Rule:
        return replace(self._rule, terms=replace(self._rule.terms, min_samples=count))

    def _count(self, now: int, most: int, *, least: int, change: Callable[[int], Rule]) -> int | None:
        """The nearest whole number from ``now`` upward (where it fired) or downward that turns it."""
        choices: Sequence[int] = range(now + 1, most + 1) if self._fired else range(now - 1, least - 1, -1)
        index = _first_true(len(choices), lambda at: self._turns(change(choices[at])))
        return None if index is None else choices[index]


def _first_true(count: int, holds: Callable[[int], bool]) -> int | None:
    """The first index that holds, where all after it do, too: by bisection."""
    if not count or not holds(count - 1):
        return None
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high
