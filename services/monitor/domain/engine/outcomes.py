"""What the engine has to tell: a change of phase or an announcement, with its evidence."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.phases import Kind, Phase, Reason
from services.monitor.domain.language.rules import Check, Rule, trigger_id
from services.monitor.domain.measuring.windows import NONE


class Evidence(NamedTuple):
    """The offsets, on ``partition`` of the metrics topic, between which the samples are that
    decided; ``samples`` of them breached."""

    partition: int
    first_offset: int
    last_offset: int
    samples: int


def evidence_between(partition: int, first_offset: int, last_offset: int, samples: int) -> Evidence | None:
    """The evidence, or None where absence alone decided: no sample stands behind it."""
    if NONE in (first_offset, last_offset):
        return None
    return Evidence(partition, first_offset, last_offset, samples)


class Outcome(NamedTuple):
    """At second ``at`` the trigger ``rule`` went ``before`` → ``after`` for the group ``of``.

    ``kind`` is the event to publish (None: nothing is announced), ``value`` None without data,
    ``began`` the first second of the breach. ``further`` are the values of the rule's further checks,
    ``baselines`` what the values were compared with, None for what was not. All times are epoch seconds.
    """

    at: int
    rule: Rule
    of: Group
    before: Phase
    after: Phase
    reason: Reason
    kind: Kind | None
    value: float | None
    began: int
    evidence: Evidence | None
    further: tuple[float | None, ...] = ()
    baselines: tuple[float | None, ...] = ()

    @property
    def component(self) -> str:
        return self.of.component

    @property
    def group(self) -> dict[str, str]:
        return self.of.as_mapping()

    @property
    def order(self) -> tuple[int, str, Group]:
        """What outcomes are sorted by."""
        return self.at, self.rule.name, self.of

    @property
    def trigger_id(self) -> str:
        return trigger_id(self.rule.name, self.of, self.began)

    @property
    def is_transition(self) -> bool:
        return self.before != self.after

    @property
    def why(self) -> str:
        """The reason in words, for people."""
        rule = self.rule
        match self.reason:
            case "breach_began" | "between":
                return self._judged()
            case "breach_lasted":
                since = format_duration(self.at - self.began)
                return f"{self._judged()}, breaching since {self._start}, {since} ago"
            case "still_firing":
                return f"{self._found()}; the trigger has been firing since a breach at {self._start}"
            case "breach_ended":
                return self._ended()
            case "no_data":
                return f"{self._what} has no data in its window"
            case "no_data_too_long":
                return f"{self._what} had no data for longer than {format_duration(rule.terms.lasting)}"
            case "release_too_old":
                return f"the newest release of {self.component} is older than {self._within}"
            case "superseded":
                return f"the definition of {rule.name} was changed or removed while it was firing"

    @property
    def _what(self) -> str:
        return f"{' and '.join(self.rule.measures)} of {self.of}"

    @property
    def _start(self) -> str:
        return utc(self.began).strftime("%H:%M:%S UTC")

    @property
    def _within(self) -> str:
        within = self.rule.only_within
        return "that" if within is None else format_duration(within)

    @property
    def _readings(self) -> list[tuple[Check, str, float | None]]:
        """Each check with what it measures, in words, and its value."""
        checks, values = self.rule.checks, (self.value, *self.further)
        return list(zip(checks, self.rule.measures, values, strict=False))

    @property
    def _against(self) -> str:
        known = [f"{figure:.6g}" for figure in self.baselines if figure is not None]
        if not known:
            return ""
        return f"; the baseline{'s are' if known[1:] else ' is'} {' and '.join(known)}"

    def _found(self) -> str:
        """The value of each check, in words."""
        return " and ".join(self._is(what, value) for _, what, value in self._readings) + self._against

    def _judged(self) -> str:
        """The value of each check with what it satisfies; of several, those that breach come first."""
        breached: list[str] = []
        others: list[str] = []
        for check, what, value in self._readings:
            if value is None:
                others.append(self._is(what, value))
                continue
            judged = f"{self._is(what, value)} ({judgement(check.when, check.clear, value)})"
            (breached if check.when.holds(value) else others).append(judged)
        apart = " and ".join(breached), " and ".join(others)
        return "; ".join(part for part in apart if part) + self._against

    def _ended(self) -> str:
        terms, (check, _, value) = self.rule.terms, self._readings[0]
        if terms.quorum:
            quorum, lasting = format_duration(terms.quorum), format_duration(terms.lasting)
            return f"{self._judged()}, no longer breaching for {quorum} of {lasting}"
        if self.rule.further or value is None or check.clear is None:
            joined = self._judged() if self.rule.further else self._found()
            return f"{joined}, no longer {self.rule.threshold_in_words}"
        return f"{self._found()}, clear of {check.when} at {check.clear}"

    def _is(self, what: str, value: float | None) -> str:
        return f"{what} of {self.of} " + ("has no data" if value is None else f"is {value:.6g}")


def judgement(when: Condition, clear: Condition | None, value: float) -> str:
    """Which of the two thresholds a value satisfies: ``> 100``, ``not > 100``, ``< 50``, or neither."""
    if when.holds(value):
        return str(when)
    if clear is None:
        return f"not {when}"
    return str(clear) if clear.holds(value) else f"neither {when} nor {clear}"


def utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@lru_cache(maxsize=65_536)
def rfc3339(seconds: int) -> str:
    """``2026-01-01T00:00:00Z``."""
    return utc(seconds).isoformat()[:19] + "Z"
