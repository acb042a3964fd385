"""Expectations on triggers over written samples, and how they are judged.

A test is judged from what the engine told over its samples; where it fails, the answer says what
was found and why, in the engine's own words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.monitor.domain.engine.held_samples import Inside, Lists
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.engine.sweep import can_be_swept, value_of
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.phases import Phase
from services.monitor.domain.language.rules import Rule

START = 1_767_225_600
"""Second 0 of every test: 2026-01-01T00:00:00Z."""


@dataclass(frozen=True, slots=True)
class InputSeries:
    """The value of a metric at each interval, None for a gap."""

    metric: str
    component: str
    values: Sequence[float | None]
    labels: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ReleaseAt:
    """At second ``at`` the component began to run something else."""

    component: str
    at: int
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedPhase:
    """At second ``at`` the phase and, where ``has_value``, the value (None: no data)."""

    at: int
    trigger: str
    component: str
    phase: Phase
    place: str
    has_value: bool = False
    value: float | None = None


@dataclass(frozen=True, slots=True)
class ExpectedTransition:
    """A change of phase; ``before`` and ``reason`` None: any."""

    at: int
    trigger: str
    component: str
    after: Phase
    place: str
    before: Phase | None = None
    reason: str | None = None

    def fits(self, outcome: Outcome) -> bool:
        return (
            outcome.at - START == self.at
            and outcome.rule.name == self.trigger
            and outcome.component == self.component
            and outcome.after == self.after
            and self.before in (None, outcome.before)
            and self.reason in (None, outcome.reason)
        )

    def __str__(self) -> str:
        before = f"{self.before} → " if self.before else "→ "
        reason = f" ({self.reason})" if self.reason else ""
        return f"{format_duration(self.at)} {self.trigger} of {self.component}: {before}{self.after}{reason}"


@dataclass(frozen=True, slots=True)
class TriggerTest:
    """One test; ``interval`` and ``until`` (how long time passes) in seconds.

    ``transitions`` None: they are not looked at; empty: no trigger changes its phase.
    """

    name: str
    place: str
    interval: int
    until: int
    series: Sequence[InputSeries]
    phases: Sequence[ExpectedPhase] = ()
    transitions: Sequence[ExpectedTransition] | None = None
    releases: Sequence[ReleaseAt] = ()

    def samples(self) -> list[tuple[int, InputSeries, float]]:
        """Seconds since the epoch, series and value, in order of time."""
        found = [
            (START + at * self.interval, series, value)
            for series in self.series
            for at, value in enumerate(series.values)
            if value is not None
        ]
        found.sort(key=lambda entry: entry[0])
        return found


@dataclass(frozen=True, slots=True)
class Failure:
    """What was expected at ``place``, what was found, and why."""

    place: str
    expected: str
    found: str
    why: list[str] = field(default_factory=list)


def judge(test: TriggerTest, rules: Sequence[Rule], outcomes: Sequence[Outcome]) -> list[Failure]:
    """Everything that is not as expected."""
    changes = [outcome for outcome in outcomes if outcome.is_transition]
    by_name = {rule.name: rule for rule in rules}
    failures = [
        failure
        for expected in test.phases
        if (failure := _judge_phase(test, by_name[expected.trigger], expected, changes)) is not None
    ]
    if test.transitions is not None:
        failures += _judge_transitions(test, test.transitions, changes)
    return failures


def _judge_phase(
    test: TriggerTest, rule: Rule, expected: ExpectedPhase, changes: Sequence[Outcome]
) -> Failure | None:
    mine = [
        change
        for change in changes
        if (change.rule.name, change.component) == (expected.trigger, expected.component)
        and change.at <= START + expected.at
    ]
    phase = mine[-1].after if mine else "inactive"
    value = value_at(test, rule, expected.component, expected.at)
    is_unknown = value is not None and math.isnan(value)
    wrong_value = expected.has_value and (is_unknown or not _same(expected.value, value))
    if phase == expected.phase and not wrong_value:
        return None
    wanted, found = str(expected.phase), str(phase)
    if expected.has_value:
        wanted, found = f"{wanted}, value {_shown(expected.value)}", f"{found}, value {_shown(value)}"
    return Failure(
        expected.place,
        f"{format_duration(expected.at)} {expected.trigger} of {expected.component}: {wanted}",
        found,
        [*map(_words, mine[-3:]), _standing(rule, phase, value, mine, expected.at)],
    )


def _judge_transitions(
    test: TriggerTest, expected: Sequence[ExpectedTransition], changes: Sequence[Outcome]
) -> list[Failure]:
    """Those of the triggers and components that are named; of all, if none is."""
    named = {(each.trigger, each.component) for each in expected}
    rest = [change for change in changes if not named or (change.rule.name, change.component) in named]
    failures = []
    for each in expected:
        match = next((change for change in rest if each.fits(change)), None)
        if match is None:
            near = [change for change in changes if change.rule.name == each.trigger]
            failures.append(Failure(each.place, str(each), "no such transition", [*map(_words, near)]))
        else:
            rest.remove(match)
    failures += [Failure(test.place, "no further transition", _words(change)) for change in rest]
    return failures


def value_at(test: TriggerTest, rule: Rule, component: str, at: int) -> float | None:
    """The aggregate at second ``at`` of the test; None without data, NaN where it is not known how
    the aggregate is worked out for a single second."""
    if not can_be_swept(rule):
        return math.nan
    second = START + at
    inside = [
        (time, value)
        for time, series, value in test.samples()
        if (series.metric, series.component) == (rule.metric, component)
        and second - rule.window < time <= second
    ]
    if not inside:
        return None
    times = [time for time, _ in inside]
    values = [value for _, value in inside]
    return value_of(rule.aggregate, Inside.all_of(Lists(times, list(map(float, times)), values, times)))


def _standing(rule: Rule, phase: Phase, value: float | None, mine: Sequence[Outcome], at: int) -> str:
    """Where the trigger stands at that second, in words."""
    if value is None:
        now = "there is no data in the window"
    elif math.isnan(value):
        now = f"it is {phase}"
    elif rule.when.holds(value):
        now = f"the value {_shown(value)} is {rule.when}"
    else:
        now = f"the value {_shown(value)} is not {rule.when}"
    if phase != "pending":
        return f"at {format_duration(at)} {now}"
    lasted = START + at - mine[-1].began
    needs = f"`for` is {format_duration(rule.terms.lasting)}, `min_samples` {rule.terms.min_samples}"
    return f"at {format_duration(at)} {now}, breaching for {format_duration(lasted)}; {needs}"


def _words(change: Outcome) -> str:
    at = format_duration(change.at - START)
    who = f"{change.rule.name} of {change.component}"
    return f"{at} {who}: {change.before} → {change.after} ({change.reason}): {change.why}"


def _same(expected: float | None, found: float | None) -> bool:
    if expected is None or found is None:
        return expected is found
    return math.isclose(expected, found, rel_tol=1e-9, abs_tol=1e-12)


def _shown(value: float | None) -> str:
    if value is None:
        return "no data"
    if math.isnan(value):
        return "not worked out for such a trigger: leave `value` out"
    short = f"{value:.10g}"
    return short if float(short) == value else repr(value)
