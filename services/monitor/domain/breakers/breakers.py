"""All breakers on one partition: the phases of their checks in, decisions out.

What is decided is a function of the engine's outcomes and of how far it has evaluated, hence
of the partition's log: at each second the signals of the checks first, then time. It does not
matter in which portions the log came, nor whether the process was restarted between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
from services.monitor.domain.engine.outcomes import Outcome, utc
from services.monitor.domain.language.durations import format_duration


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
            "open_long_enough": f"open since {_clock(breaker.opened)}; now probing ({failed})",
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
        self._timed: set[str] = set()
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
        for memory in remembered:
            plan = self._plans.of(memory.component)
            if plan is None:
                self._changed[memory.component] = None
                told.append(Removal(memory.component))
                continue
            breaker = _under(plan, memory)
            if memory.settings != settings_hash(plan) and breaker.state != "closed" and at is not None:
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
            check = None if plan is None else _check_of(plan, outcome)
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
        while self._timed:
            due = sorted((at, name) for name in self._timed if (at := self._due(name)) is not None)
            if not due or due[0][0] > through:
                break
            at, component = due[0]
            decisions += self._step(component, (), at)
        return decisions

    def _due(self, component: str) -> int | None:
        plan = self._plans.of(component)
        return None if plan is None else next_due(plan.terms, self._breakers[component])

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
        if breaker.state == "closed":
            self._timed.discard(component)
        else:
            self._timed.add(component)
        if changed:
            self._changed[component] = None


def _check_of(plan: BreakerPlan, outcome: Outcome) -> CheckName | None:
    """Which check of this plan an outcome tells of; a rule may be another component's own."""
    for name, check in plan.checks.items():
        if outcome.rule.name in (check.fails.name, check.clear.name):
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
