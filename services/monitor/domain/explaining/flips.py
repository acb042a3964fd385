"""The nearest change of a trigger's definition that would have turned whether it fired.

Nothing is estimated: the engine is run again over the same records with the definition changed,
and each number is the edge between a run that fires and one that does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from services.monitor.domain.explaining.further_flips import FurtherFlips
from services.monitor.domain.explaining.percentages import percent_of_change, threshold_in_percent
from services.monitor.domain.explaining.recorded import Recorded, run
from services.monitor.domain.explaining.searching import Change, first_true
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.columns import NO_SERIES, second_of
from services.monitor.domain.measuring.windows import Floats

MAX_EVALUATIONS = 3_600
"""The longest ``of`` of an M of N."""


class Flips:
    """Looks for the nearest thresholds, durations and counts that turn the answer."""

    def __init__(
        self, rule: Rule, recorded: Recorded, first: int, last: int, fired: bool, values: list[Floats | None]
    ) -> None:
        self._rule, self._recorded = rule, recorded
        self._first, self._last = first, last
        self._fired = fired
        self._values = values

    def all(self) -> tuple[list[Change], list[str]]:
        """The changes, each by itself, and why thresholds were not looked for."""
        found: list[Change | None] = []
        not_tried = []
        for index, (check, values) in enumerate(zip(self._rule.checks, self._values, strict=True)):
            which = f" of {check.words()}" if self._rule.further else ""
            if check.when.operator in ("==", "!="):
                not_tried.append(f"a threshold of `{check.when.operator}`{which} has no nearest one")
            elif values is None:
                not_tried.append(f"there were too many values{which} to try each as a threshold")
            else:
                found.append(self._threshold(index, values))
        lasting = [self._lasting()] if self._rule.terms.quorum is None else [self._breaching(), self._of()]
        found += [*lasting, self._min_samples()]
        further = FurtherFlips(self._rule, self._recorded, self._last, self._fired, self._turns)
        found += further.all()
        not_tried += further.not_tried
        return [each for each in found if each is not None], not_tried

    def _turns(self, changed: Rule) -> bool:
        return run(changed, self._recorded).fires(self._first, self._last) is not self._fired

    def _threshold(self, index: int, values: Floats) -> Change | None:
        check = self._rule.checks[index]
        when = check.when
        upward, includes = when.operator in (">", ">="), when.operator in (">=", "<=")
        raises = upward is self._fired
        # A threshold that equals a value lets `>` pass it by, and `>=` not.
        inclusive = includes is not self._fired
        now = when.threshold
        beyond = values[values >= now] if raises else values[values <= now][::-1]
        edges = beyond.tolist()

        def shown(value: float) -> str:
            return f"{value:.15g}" if check.baseline is None else threshold_in_percent(value)

        def threshold(value: float) -> float:
            return value if inclusive else math.nextafter(value, math.inf if raises else -math.inf)

        def turns(at: int) -> bool:
            changed = Condition(when.operator, threshold(edges[at]))
            return changed.threshold != now and self._turns(_with_when(self._rule, index, changed))

        at = first_true(len(edges), turns)
        if at is None:
            return None
        value = edges[at]
        side = "above" if raises else "below"
        enough = shown(value) + (" or " + ("more" if raises else "less") if inclusive else "")
        words = f"a threshold of {enough}" if inclusive else f"a threshold {side} {enough}"
        measure = check.words() if self._rule.further else None
        which = "" if measure is None else f" for {measure}"
        change = percent_of_change(now, value) if check.baseline is None else None
        share = "" if change is None else f" ({change})"
        if check.clear is not None and not check.clear.excludes(Condition(when.operator, threshold(value))):
            share += f"; `clear: {check.clear}` would have to move with it"
        words = f"{words} instead of {shown(now)}{which}{share}"
        return Change("threshold", now, value, inclusive, words, measure)

    def _lasting(self) -> Change | None:
        now = self._rule.terms.lasting
        widest = max(check.window for check in self._rule.checks)
        times = self._recorded.columns.time
        # A breach may have begun long before the seconds asked about, though not before the records.
        oldest = min(self._first, int(second_of(times.min()))) if len(times) else self._first
        most = max(now, self._last - oldest) + widest + now + 1
        return self._duration("for", now, 0, most, self._with_lasting, grows=self._fired)

    def _breaching(self) -> Change | None:
        terms = self._rule.terms
        now = terms.quorum or 1
        return self._duration("breaching", now, 1, terms.lasting, self._with_quorum, grows=self._fired)

    def _of(self) -> Change | None:
        terms = self._rule.terms
        least = terms.quorum or 1
        # More evaluations to find the same number of breaches in are the milder choice.
        return self._duration(
            "of", terms.lasting, least, MAX_EVALUATIONS, self._with_lasting, grows=not self._fired
        )

    def _duration(
        self, name: str, now: int, least: int, most: int, change: Callable[[int], Rule], *, grows: bool
    ) -> Change | None:
        found = self._count(now, least, most, change, grows=grows)
        if found is None:
            return None
        words = f"a `{name}` of {format_duration(found)} or {'more' if grows else 'less'}"
        return Change(name, now, found, True, f"{words} instead of {format_duration(now)}")

    def _min_samples(self) -> Change | None:
        now = self._rule.terms.min_samples
        most = now + int((self._recorded.columns.series != NO_SERIES).sum()) + 1
        found = self._count(now, 1, most, self._with_min_samples, grows=self._fired)
        if found is None:
            return None
        words = f"a `min_samples` of {found}{' or more' if self._fired else ' or less'} instead of {now}"
        return Change("min_samples", now, found, True, words)

    def _with_lasting(self, seconds: int) -> Rule:
        return replace(self._rule, terms=replace(self._rule.terms, lasting=seconds))

    def _with_quorum(self, count: int) -> Rule:
        return replace(self._rule, terms=replace(self._rule.terms, quorum=count))

    def _with_min_samples(self, count: int) -> Rule:
        return replace(self._rule, terms=replace(self._rule.terms, min_samples=count))

    def _count(
        self, now: int, least: int, most: int, change: Callable[[int], Rule], *, grows: bool
    ) -> int | None:
        """The whole number nearest to ``now``, upward or downward, that turns it."""
        choices: Sequence[int] = range(now + 1, most + 1) if grows else range(now - 1, least - 1, -1)
        index = first_true(len(choices), lambda at: self._turns(change(choices[at])))
        return None if index is None else choices[index]


def _with_when(rule: Rule, index: int, when: Condition) -> Rule:
    """The rule with another threshold in one of its checks."""
    if index == 0:
        return replace(rule, when=when)
    further = list(rule.further)
    further[index - 1] = replace(further[index - 1], when=when)
    return replace(rule, further=tuple(further))
