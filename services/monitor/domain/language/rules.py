"""A trigger as it is defined: what is measured, when it breaches, and what that leads to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, get_args

import msgspec

from services.monitor.domain.language.aggregates import TRAITS, Aggregate, Traits
from services.monitor.domain.language.conditions import Condition, parse_condition
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.groups import EVERYTHING, Group, Selection, selection
from services.monitor.domain.language.phases import NoData, Terms

Severity = Literal["low", "medium", "high", "critical"]
Join = Literal["all", "any"]
_JOINED: dict[Join, str] = {"all": "and", "any": "or"}
JOINS: tuple[Join, ...] = get_args(Join)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
COMPONENT_PLACEHOLDER = "{component}"
ActionKind = Literal["rollback", "validate", "notify", "health_check"]
ACTION_KINDS: tuple[ActionKind, ...] = get_args(ActionKind)
DEFAULT_MAX_GROUPS = 10_000
"""Groups of a trigger on one partition. A definition says its limit only where it is another one."""


@dataclass(frozen=True, slots=True)
class Action:
    """What a breach asks for. ``target`` is the component to roll back, to validate or to check, or the
    receiver to notify; ``{component}`` is the group's own component."""

    kind: ActionKind
    target: str


ROLL_BACK = Action("rollback", COMPONENT_PLACEHOLDER)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a value is compared with: the aggregate of what it was over the last ``window`` seconds
    before the component's release."""

    aggregate: Aggregate
    window: int

    def definition(self) -> dict[str, Any]:
        return {"aggregate": self.aggregate, "window": self.window}

    def __str__(self) -> str:
        return f"{self.aggregate} over {format_duration(self.window)} before the release"


@dataclass(frozen=True, slots=True)
class Check:
    """One condition on one measured value. ``window`` is in seconds; it may be a staleness (see ``Traits``).

    With ``to`` the value is the ratio of the two metrics' aggregates over the same window; with a
    ``baseline`` it is how far the aggregate, or the ratio, is above that, relative to it.
    """

    metric: str
    aggregate: Aggregate
    window: int
    when: Condition
    clear: Condition | None = None
    to: str | None = None
    baseline: Baseline | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,) if self.to is None else (self.metric, self.to)

    @property
    def is_level(self) -> bool:
        """Whether the samples themselves are of what a baseline compares the value with. Otherwise the
        values are, that the check had before."""
        return self.to is None and self.traits.is_level

    @property
    def traits(self) -> Traits:
        return TRAITS[self.aggregate]

    @property
    def judges_samples(self) -> bool:
        """Whether a sample by itself satisfies the condition or not; otherwise each counts as breaching."""
        return self.is_level and self.baseline is None

    def definition(self) -> dict[str, Any]:
        baseline = {} if self.baseline is None else {"baseline": self.baseline.definition()}
        return {
            "metric": self.metric,
            "to": self.to,
            "aggregate": self.aggregate,
            "window": self.window,
            "when": str(self.when),
            "clear": None if self.clear is None else str(self.clear),
            **baseline,
        }

    def words(self, matchers: str = "") -> str:
        """What is compared with the threshold: ``avg over 1m of response_time_ms``."""
        over = "" if self.traits.is_newest else f"{self.aggregate} over {format_duration(self.window)} of "
        to = "" if self.to is None else f" / {self.to}{matchers}"
        against = "" if self.baseline is None else f" against its {self.baseline}"
        return f"{over}{self.metric}{matchers}{to}{against}"


@dataclass(frozen=True)
class Rule:
    """One trigger's definition: a check and, joined with it by ``all`` or ``any``, further ones.

    The fields of the first check are the rule's own. ``window`` is in seconds; it may be a staleness.
    With ``only_within`` it can breach for so many seconds after the component's newest release only. It
    is evaluated for at most ``max_groups`` groups of a partition.
    """

    name: str
    metric: str
    aggregate: Aggregate
    window: int
    when: Condition
    clear: Condition | None
    terms: Terms
    severity: Severity
    action: Action = ROLL_BACK
    immediate: bool = False
    selection: Selection = EVERYTHING
    to: str | None = None
    join: Join = "all"
    further: tuple[Check, ...] = ()
    baseline: Baseline | None = None
    only_within: int | None = None
    max_groups: int = DEFAULT_MAX_GROUPS
    place: str = field(default="", compare=False)

    @cached_property
    def hash(self) -> str:
        """The same for the same definition, wherever it is written: 16 hexadecimal digits."""
        return _digest(self.definition())

    @cached_property
    def encoded(self) -> bytes:
        """The definition as JSON: it is part of every state that is written."""
        return msgspec.json.encode(self.definition())

    def definition(self) -> dict[str, Any]:
        """The definition as JSON values, from which ``rule_from_definition`` makes it again."""
        return {
            "name": self.name,
            "join": self.join,
            "checks": [check.definition() for check in self.checks],
            "for": self.terms.lasting,
            "quorum": self.terms.quorum,
            "keep_firing_for": self.terms.keep,
            "min_samples": self.terms.min_samples,
            "no_data": self.terms.no_data,
            "group_by": ["component", *self.selection.group_by],
            "matchers": [str(matcher) for matcher in self.selection.matchers],
            "severity": self.severity,
            "then": {self.action.kind: self.action.target},
            "immediate": self.immediate,
            # A definition keeps its hash where it does not use what later versions added.
            **({} if self.only_within is None else {"only_within": self.only_within}),
            **({} if self.max_groups == DEFAULT_MAX_GROUPS else {"max_groups": self.max_groups}),
        }

    @cached_property
    def condition(self) -> str:
        """The whole condition in words: ``avg over 1m > 3000 for 5m``."""
        if self.further:
            joined = f" {_JOINED[self.join]} ".join(f"{check.words()} {check.when}" for check in self.checks)
            return f"{joined}{self._lasting}"
        over = "" if self.traits.is_newest else f"{self.aggregate} over {format_duration(self.window)} "
        against = "" if self.baseline is None else f"against {self.baseline} "
        return f"{over}{against}{self.when}{self._lasting}"

    @property
    def _lasting(self) -> str:
        within = (
            "" if self.only_within is None else f" within {format_duration(self.only_within)} of a release"
        )
        return f"{self._for}{within}"

    @property
    def _for(self) -> str:
        if not self.terms.lasting:
            return ""
        lasting = format_duration(self.terms.lasting)
        quorum = self.terms.quorum
        return f" for {lasting}" if quorum is None else f" for {format_duration(quorum)} of {lasting}"

    @cached_property
    def threshold_in_words(self) -> str:
        """``> 3000``, or the thresholds of all checks."""
        return f" {_JOINED[self.join]} ".join(str(check.when) for check in self.checks)

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """What each check compares with its threshold, in words."""
        matchers = "{" + ", ".join(map(str, self.selection.matchers)) + "}" if self.selection.matchers else ""
        return tuple(check.words(matchers) for check in self.checks)

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        first = Check(self.metric, self.aggregate, self.window, self.when, self.clear, self.to, self.baseline)
        return (first, *self.further)

    @property
    def traits(self) -> Traits:
        """What is known of the first check's aggregate."""
        return TRAITS[self.aggregate]

    @property
    def is_derived(self) -> bool:
        """Whether more than one value, or a release, decides."""
        return bool(self.further) or self.to is not None or self.looks_at_releases

    @property
    def looks_at_releases(self) -> bool:
        return self.only_within is not None or self.has_baseline

    @cached_property
    def has_baseline(self) -> bool:
        """Whether the value of any check is compared with one."""
        return any(check.baseline is not None for check in self.checks)

    @property
    def metrics(self) -> frozenset[str]:
        return frozenset(metric for check in self.checks for metric in check.metrics)


def rule_from_definition(fields: Mapping[str, Any]) -> Rule:
    """The inverse of ``Rule.definition``; raises KeyError or ValueError for anything else."""
    no_data: NoData = fields["no_data"]
    first, *further = (_check(check) for check in fields["checks"])
    return Rule(
        name=fields["name"],
        metric=first.metric,
        aggregate=first.aggregate,
        window=first.window,
        when=first.when,
        clear=first.clear,
        terms=Terms(
            fields["for"], fields["keep_firing_for"], fields["min_samples"], no_data, fields["quorum"]
        ),
        severity=fields["severity"],
        action=action_from_definition(fields["then"]),
        immediate=fields["immediate"],
        selection=selection(fields["matchers"], fields["group_by"][1:]),
        to=first.to,
        join=fields["join"],
        further=tuple(further),
        baseline=first.baseline,
        only_within=fields.get("only_within"),
        max_groups=fields.get("max_groups", DEFAULT_MAX_GROUPS),
    )


def _check(fields: Mapping[str, Any]) -> Check:
    clear = None if fields["clear"] is None else parse_condition(fields["clear"])
    when = parse_condition(fields["when"])
    past = fields.get("baseline")
    baseline = None if past is None else Baseline(past["aggregate"], past["window"])
    return Check(fields["metric"], fields["aggregate"], fields["window"], when, clear, fields["to"], baseline)


def action_from_definition(then: Mapping[ActionKind, str]) -> Action:
    """The action of ``{kind: target}``."""
    ((kind, target),) = then.items()
    return Action(kind, target)


def rules_hash(rules: Iterable[Rule], allowed_lateness: float) -> str:
    """What, besides the log, the transitions of a partition are a function of."""
    return _digest({"rules": sorted(rule.hash for rule in rules), "allowed_lateness": allowed_lateness})


def trigger_id(name: str, group: Group, began: int) -> str:
    """``<trigger>:<component>:<start of the breach>``, with a hash of any further group labels."""
    suffix = "" if not group.labels else f"-{labels_digest(group)}"
    start = datetime.fromtimestamp(began, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{name}:{group.component}{suffix}:{start}"


def labels_digest(group: Group) -> str:
    """Eight hexadecimal digits that tell groups of one component apart in an id or a key."""
    return _digest(dict(group.labels))[:8]


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
