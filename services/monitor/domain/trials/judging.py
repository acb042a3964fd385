"""Expectations on triggers, judged from what the engine told over a test's samples.

Where one fails, the answer says what was found and why, in the engine's own words, and at which time
nearby it would have been right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.phases import Phase
from services.monitor.domain.trials.trigger_tests import (
    Change,
    ExpectedPhase,
    ExpectedTransition,
    TriggerTest,
)

MOST_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Subject:
    """A trigger under test, as far as a failure speaks of it: the value's names, one for each condition,
    when it breaches, and what a pending one waits for."""

    measures: tuple[str, ...]
    breaches: str
    needs: str


ValuesAt = Callable[[ExpectedPhase], tuple[float | None, ...]]
"""The values of a trigger's conditions at the expectation's second; None without data."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What was expected at ``place``, what was found, and why. ``nearest`` is the second of the test
    closest by at which it would have been so; None if there is none."""

    place: str
    expected: str
    found: str
    why: list[str] = field(default_factory=list)
    nearest: int | None = None


def judge(
    test: TriggerTest, subjects: Mapping[str, Subject], changes: Sequence[Change], values: ValuesAt
) -> list[Failure]:
    """Everything that is not as expected; ``changes`` are all changes of phase in order of time."""
    failures = []
    for expected in test.phases:
        mine = [each for each in changes if (each.trigger, each.of) == (expected.trigger, expected.of)]
        failure = _judge_phase(test, subjects[expected.trigger], expected, mine, values(expected))
        if failure is not None:
            failures.append(failure)
    if test.transitions is not None:
        failures += _judge_transitions(test, test.transitions, changes)
    return failures


def _judge_phase(
    test: TriggerTest,
    subject: Subject,
    expected: ExpectedPhase,
    mine: Sequence[Change],
    values: tuple[float | None, ...],
) -> Failure | None:
    past = [each for each in mine if each.at <= expected.at]
    phase: Phase = past[-1].after if past else "inactive"
    wanted = expected.values
    if phase == expected.phase and all(map(_same, wanted, values)):
        return None
    nearest = None if phase == expected.phase else _nearest(expected, mine, test.until)
    return Failure(
        expected.place,
        f"{format_duration(expected.at)} {expected.trigger} of {expected.of}: "
        f"{expected.phase}{_and_values(wanted)}",
        f"{phase}{_and_values(values[: len(wanted)])}",
        [
            *map(str, past[-MOST_SHOWN:]),
            _standing(subject, phase, values, past, expected.at),
            *_by(expected, phase, nearest),
        ],
        nearest,
    )


def _nearest(expected: ExpectedPhase, mine: Sequence[Change], until: int) -> int | None:
    """The second nearest to the expectation's at which the trigger has the expected phase."""
    begins: list[tuple[int, Phase]] = [(0, "inactive"), *((each.at, each.after) for each in mine)]
    ends = [at for at, _ in begins[1:]] + [until + 1]
    seconds = [
        min(max(begin, expected.at), end - 1)
        for (begin, phase), end in zip(begins, ends, strict=True)
        if phase == expected.phase and begin < end
    ]
    return min(seconds, key=lambda second: abs(second - expected.at), default=None)


def _by(expected: ExpectedPhase, phase: Phase, nearest: int | None) -> list[str]:
    if phase == expected.phase:
        return []
    if nearest is None:
        return [f"it is never {expected.phase} in this test"]
    return [f"the nearest time at which it is {expected.phase}: {format_duration(nearest)}"]


def _judge_transitions(
    test: TriggerTest, expected: Sequence[ExpectedTransition], changes: Sequence[Change]
) -> list[Failure]:
    """Those of the triggers and groups that are named; of all, if none is."""
    named = {(each.trigger, each.of) for each in expected}
    rest = [change for change in changes if not named or (change.trigger, change.of) in named]
    failures = []
    for each in expected:
        match = next((change for change in rest if each.fits(change)), None)
        if match is None:
            failures.append(_no_such(each, changes))
        else:
            rest.remove(match)
    failures += [Failure(test.place, "no further transition", str(change)) for change in rest]
    return failures


def _no_such(expected: ExpectedTransition, changes: Sequence[Change]) -> Failure:
    mine = [each for each in changes if each.trigger == expected.trigger]
    of_group = [each for each in mine if each.of == expected.of]
    alike = [each for each in of_group if each.after == expected.after]
    nearest = min(alike, key=lambda each: abs(each.at - expected.at), default=None)
    if nearest is not None:
        why = [f"the nearest to {expected.after}: {nearest}"]
    else:
        near = sorted(of_group or mine, key=lambda each: abs(each.at - expected.at))[:MOST_SHOWN]
        why = [str(each) for each in sorted(near, key=lambda each: each.at)]
    at = None if nearest is None else nearest.at
    return Failure(expected.place, str(expected), "no such transition", why, at)


def _standing(
    subject: Subject, phase: Phase, values: Sequence[float | None], past: Sequence[Change], at: int
) -> str:
    """Where the trigger stands at that second, in words."""
    if len(subject.measures) == 1:
        (value,) = values
        readings = "there is no data in the window" if value is None else f"the value is {_shown(value)}"
    else:
        readings = "; ".join(
            f"{measure} {'has no data' if value is None else f'is {_shown(value)}'}"
            for measure, value in zip(subject.measures, values, strict=True)
        )
    now = f"at {format_duration(at)} {readings} (a breach is {subject.breaches})"
    if phase != "pending":
        return now
    return f"{now}, breaching for {format_duration(at - past[-1].began)}; {subject.needs}"


def _and_values(values: Sequence[float | None]) -> str:
    if not values:
        return ""
    return f", value{'s' if len(values) > 1 else ''} {', '.join(map(_shown, values))}"


def _same(expected: float | None, found: float | None) -> bool:
    if expected is None or found is None:
        return expected is found
    return math.isclose(expected, found, rel_tol=1e-9, abs_tol=1e-12)


def _shown(value: float | None) -> str:
    if value is None:
        return "no data"
    short = f"{value:.10g}"
    return short if float(short) == value else repr(value)
