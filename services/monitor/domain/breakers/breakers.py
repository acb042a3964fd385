"""All breakers on one partition: the phases of their checks in, decisions out.

What is decided is a function of the engine's outcomes and of how far it has evaluated, hence
of the partition's log: at each second the signals of the checks first, then time. It does not
matter in which portions the log came, nor whether the process was restarted between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import groupby
from operator import attrgetter

from services.monitor.domain.breakers.breaker import (
    Breaker,
    BreakerReason,
    BreakerState,
    CheckName,
    Failure,
    Signal,
    fallback_for,
    next_due,
    step,
)
from services.monitor.domain.breakers.breaker_memory import RememberedBreaker, breaker_key
from services.monitor.domain.breakers.breaker_plan import (
    BreakerPlan,
    BreakerPlans,
    feeds_breaker,
    settings_hash,
    tells_clear,
)
from services.monitor.domain.engine.memory import Remembered
from services.monitor.domain.engine.outcomes import Outcome, utc
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.rules import Rule

_NONE_LEFT = "no check that failed is left"


@dataclass(frozen=True, slots=True)
class Decision:
    """At second ``at`` the breaker of ``component`` went ``before`` → ``breaker.state``.

    ``before`` is None where it is told for the first time. ``probe_share`` is the part of the
    calls (0 to 1) that a half-open breaker lets through.
    """

    at: int
    component: str
    before: BreakerState | None
    breaker: Breaker
    reason: BreakerReason
    probe_share: float

    @property
    def episode(self) -> str:
        """One id from an opening to the close that ends it: ``breaker:<component>:<opened>``."""
        opened = self.at if self.breaker.opened is None else self.breaker.opened
        return f"breaker:{self.component}:{utc(opened):%Y%m%dT%H%M%SZ}"

    @property
    def why(self) -> str:
        """The reason in words, for people."""
        failures = self.breaker.failures
        failed = "; ".join(_failure_words(failure) for failure in failures)
        names = ", ".join(failure.check for failure in failures) or "what failed"
        breaker = self.breaker
        length = "" if breaker.until is None else format_duration(breaker.until - self.at)
        sentences: dict[BreakerReason, str] = {
            "first_seen": f"the first data of {self.component}: nothing has failed",
            "check_failed": f"{failed}. Open for {length}",
            "another_check_failed": f"{failed}. Open for {length} more",
            "open_long_enough": f"open since {_clock(breaker.opened)}; now probing ({failed or _NONE_LEFT})",
            "still_failing": f"still failing when it was to be probed: {names}. Open for {length} more",
            "failed_again": f"failed again while probing: {failed}. Open for {length}",
            "clear_long_enough": "all that had failed was seen clear for long enough",
            "settings_changed": f"the breaker's settings have changed; {failed or 'nothing fails'}",
        }
        return sentences[self.reason]


@dataclass(frozen=True, slots=True)
class Removal:
    """A component has no breaker any more: its last decision holds no longer."""

    component: str


class Breakers:
    """The breakers of the components that the partition has shown."""

    def __init__(self, plans: BreakerPlans) -> None:
        self._plans = plans
        self._breakers: dict[str, Breaker] = {}
        self._due_at: list[tuple[int, str]] = []
        """When time alone moves a breaker, the soonest first; what signals moved since is passed over."""
        self._passed: int | None = None
        self._changed: dict[str, None] = {}

    @property
    def are_configured(self) -> bool:
        return self._plans.are_configured

    def advance(self, outcomes: Iterable[Outcome], through: int | None) -> list[Decision]:
        """What the next outcomes (in order of time) and the seconds up to ``through``, the last one
        evaluated, decide. Outcomes of triggers are passed over."""
        decisions: list[Decision] = []
        told = (outcome for outcome in outcomes if outcome.is_transition and feeds_breaker(outcome.rule))
        for at, of_second in groupby(told, key=attrgetter("at")):
            decisions += self._let_pass(at - 1)
            decisions += self._take(list(of_second), at)
        if through is not None:
            decisions += self._let_pass(through)
        return decisions

    def recall(self, remembered: Iterable[RememberedBreaker], at: int | None) -> list[Decision | Removal]:
        """Begin where another process stopped, at second ``at``, under the plans of today.

        Returns what a change of the configuration has to say: a component without a breaker, or
        one that is not closed and has other settings now.
        """
        told: list[Decision | Removal] = []
        self._passed = at
        for memory in remembered:
            plan = self._plans.of(memory.component)
            if plan is None:
                self._changed[memory.component] = None
                told.append(Removal(memory.component))
                continue
            breaker = _under(plan, memory)
            is_told_otherwise = (
                memory.settings != settings_hash(plan) or breaker.failures != memory.breaker.failures
            )
            if is_told_otherwise and breaker.state != "closed" and at is not None:
                fallback = fallback_for(plan.fallbacks, breaker.failures) or breaker.fallback
                breaker = replace(breaker, fallback=fallback)
                told.append(_decision(memory.component, plan, breaker.state, breaker, "settings_changed", at))
            self._keep(memory.component, breaker, changed=memory.differs(plan))
        return told

    def changes(self) -> dict[bytes, bytes | None]:
        """The states that changed since the last call, by key; None: no longer remembered."""
        changes: dict[bytes, bytes | None] = {}
        for component in self._changed:
            plan, breaker = self._plans.of(component), self._breakers.get(component)
            memory = (
                None if plan is None or breaker is None else RememberedBreaker.of(component, plan, breaker)
            )
            changes[breaker_key(component)] = None if memory is None else memory.to_bytes()
        self._changed = {}
        return changes

    def states(self) -> dict[str, BreakerState]:
        """Every component with a breaker, with its state."""
        return {component: breaker.state for component, breaker in self._breakers.items()}

    def _take(self, outcomes: Sequence[Outcome], at: int) -> list[Decision]:
        by_component: dict[str, list[Signal]] = {}
        for outcome in outcomes:
            plan = self._plans.of(outcome.component)
            check = None if plan is None else _check_of(plan, outcome.rule)
            if check is None:
                continue
            signals = by_component.setdefault(outcome.component, [])
            signal = _signal(check, outcome)
            if signal is not None:
                signals.append(signal)
        return [
            decision
            for component in sorted(by_component)
            for decision in self._step(component, by_component[component], at)
        ]

    def _let_pass(self, through: int) -> list[Decision]:
        """Let time alone move the breakers, second by second where something is due."""
        decisions: list[Decision] = []
        while self._due_at and self._due_at[0][0] <= through:
            at, component = heappop(self._due_at)
            if self._due(component) == at:
                decisions += self._step(component, (), at)
        self._passed = through
        return decisions

    def _due(self, component: str) -> int | None:
        """When time alone moves a breaker: by a shorter time than before a restart, not in the past."""
        plan = self._plans.of(component)
        due = None if plan is None else next_due(plan.terms, self._breakers[component])
        return due if due is None or self._passed is None else max(due, self._passed + 1)

    def _step(self, component: str, signals: Sequence[Signal], at: int) -> list[Decision]:
        plan = self._plans.of(component)
        if plan is None:
            return []
        known = self._breakers.get(component)
        move = step(plan.terms, plan.fallbacks, known or Breaker(since=at), signals, at)
        self._keep(component, move.breaker, changed=move.breaker != known)
        reason = move.reason or ("first_seen" if known is None else None)
        if reason is None:
            return []
        before = None if known is None else known.state
        return [_decision(component, plan, before, move.breaker, reason, at)]

    def _keep(self, component: str, breaker: Breaker, *, changed: bool) -> None:
        self._breakers[component] = breaker
        if changed:
            self._changed[component] = None
        if (due := self._due(component)) is not None:
            heappush(self._due_at, (due, component))


def _check_of(plan: BreakerPlan, rule: Rule) -> CheckName | None:
    """Which check of this plan a rule tells of; it may be another component's own."""
    for name, check in plan.checks.items():
        if rule.name in (check.fails.name, check.clear.name):
            return name
    return None


def _signal(check: CheckName, outcome: Outcome) -> Signal | None:
    rule = outcome.rule
    begins, ends = outcome.after == "firing", outcome.before == "firing"
    if tells_clear(rule):
        return Signal(check, "clear" if begins else "unclear") if begins or ends else None
    if not begins:
        return Signal(check, "recovered") if ends else None
    failure = Failure(
        check, rule.metric, rule.condition, rule.when.threshold, outcome.value, outcome.began, outcome.at
    )
    return Signal(check, "failed", failure)


def begun_anew(
    plans: BreakerPlans, phases: Iterable[Remembered], breakers: Iterable[RememberedBreaker]
) -> frozenset[bytes]:
    """The keys of those remembered phases that a component's breaker was not fed by: it had another check
    then, or none. The engine evaluates what is written for every component everywhere; a check that fails
    already, or is clear, would have nothing more to tell."""
    fed_by = {memory.component: memory.checks for memory in breakers}
    anew = set[bytes]()
    for memory in phases:
        component, plan = memory.of.component, plans.of(memory.of.component)
        name = None if plan is None else _check_of(plan, memory.rule)
        if plan is None or name is None or memory.state.phase == "inactive":
            continue
        if fed_by.get(component, {}).get(name) != plan.checks[name].fails.hash:
            anew.add(memory.key)
    return frozenset(anew)


def _under(plan: BreakerPlan, memory: RememberedBreaker) -> Breaker:
    """The remembered breaker without what was learnt from checks that are no more, or are others
    now: the engine starts those anew."""
    breaker = memory.breaker
    same = {name for name, check in plan.checks.items() if memory.checks.get(name) == check.fails.hash}
    return replace(
        breaker,
        failing=breaker.failing & same,
        clear={name: since for name, since in breaker.clear.items() if name in same},
        failures=tuple(failure for failure in breaker.failures if failure.check in plan.checks),
    )


def _decision(
    component: str,
    plan: BreakerPlan,
    before: BreakerState | None,
    breaker: Breaker,
    reason: BreakerReason,
    at: int,
) -> Decision:
    return Decision(at, component, before, breaker, reason, plan.terms.probe_share)


def _failure_words(failure: Failure) -> str:
    found = "no data" if failure.value is None else f"{failure.value:.6g}"
    return (
        f"{failure.check}: {failure.metric} was {found} ({failure.condition}) since {_clock(failure.since)}"
    )


def _clock(seconds: int | None) -> str:
    return "the start" if seconds is None else utc(seconds).strftime("%H:%M:%S UTC")
