"""A compound trigger as it is defined: which members or reports, how many, within which time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from schemas.commands import FULL_SYSTEM
from schemas.reports import ReportKind
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.rules import SEVERITIES, Action, Severity, action_from_definition

REPORT_KINDS: tuple[ReportKind, ...] = get_args(ReportKind)
FULL_ROLLBACK = Action("rollback", FULL_SYSTEM)
ConditionKind = Literal["several", "cascade", "report"]


@dataclass(frozen=True, slots=True)
class MemberFilter:
    """Which triggers count as members; an empty ``triggers`` stands for every name."""

    triggers: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = SEVERITIES

    def fits(self, trigger: str, severity: Severity) -> bool:
        return severity in self.severities and (not self.triggers or trigger in self.triggers)

    def words(self) -> str:
        """`` of severity high or critical``; nothing where every trigger counts."""
        words = ""
        if self.triggers:
            words += f" by {' or '.join(self.triggers)}"
        if set(self.severities) != set(SEVERITIES):
            words += f" of severity {' or '.join(self.severities)}"
        return words

    def definition(self) -> dict[str, Any]:
        return {"triggers": list(self.triggers), "severities": list(self.severities)}


@dataclass(frozen=True, slots=True)
class Several:
    """``at_least`` components whose members fired within ``window`` seconds of one another."""

    at_least: int
    window: int
    members: MemberFilter = MemberFilter()

    def words(self) -> str:
        return (
            f"at least {self.at_least} components firing within {format_duration(self.window)}"
            f"{self.members.words()}"
        )

    def definition(self) -> dict[str, Any]:
        members = self.members.definition()
        return {"kind": "several", "at_least": self.at_least, "window": self.window, "members": members}


@dataclass(frozen=True, slots=True)
class Cascade:
    """``at_least`` components, one of which fired first; each other depends on one before it, and
    fired no earlier than that, within ``window`` seconds of the first.

    ``depends_on`` has, for each component that depends on others, those others.
    """

    at_least: int
    window: int
    depends_on: tuple[tuple[str, tuple[str, ...]], ...]
    members: MemberFilter = MemberFilter()

    def words(self) -> str:
        return (
            f"at least {self.at_least} components, each depending on one before it, firing within "
            f"{format_duration(self.window)}{self.members.words()}"
        )

    def dependencies(self) -> dict[str, frozenset[str]]:
        return {component: frozenset(needed) for component, needed in self.depends_on}

    def definition(self) -> dict[str, Any]:
        return {
            "kind": "cascade",
            "at_least": self.at_least,
            "window": self.window,
            "depends_on": {component: list(needed) for component, needed in self.depends_on},
            "members": self.members.definition(),
        }


@dataclass(frozen=True, slots=True)
class Reported:
    """A person or a system has reported one of ``kinds``."""

    kinds: tuple[ReportKind, ...]

    def words(self) -> str:
        return f"{' or '.join(kind.replace('_', ' ') for kind in self.kinds)} reported"

    def definition(self) -> dict[str, Any]:
        return {"kind": "report", "kinds": list(self.kinds)}


Condition = Several | Cascade | Reported


@dataclass(frozen=True, slots=True)
class CompoundRule:
    """One compound trigger. ``place`` is where it is written."""

    name: str
    condition: Condition
    severity: Severity = "critical"
    action: Action = FULL_ROLLBACK
    immediate: bool = False
    place: str = field(default="", compare=False)

    @property
    def hash(self) -> str:
        """The same for the same definition, wherever it is written: 16 hexadecimal digits."""
        return digest(self.definition())

    @property
    def threshold(self) -> int:
        """How many components (or reports) there have to be."""
        return 1 if isinstance(self.condition, Reported) else self.condition.at_least

    @property
    def metric(self) -> str:
        """What is counted, as the event's metric."""
        return "reports" if isinstance(self.condition, Reported) else "firing_components"

    def definition(self) -> dict[str, Any]:
        """The definition as JSON values, from which ``rule_from_definition`` makes it again."""
        return {
            "name": self.name,
            "condition": self.condition.definition(),
            "severity": self.severity,
            "then": {self.action.kind: self.action.target},
            "immediate": self.immediate,
        }


def rule_from_definition(fields: Mapping[str, Any]) -> CompoundRule:
    """The inverse of ``CompoundRule.definition``; raises KeyError or ValueError for anything else."""
    return CompoundRule(
        name=fields["name"],
        condition=_condition(fields["condition"]),
        severity=fields["severity"],
        action=action_from_definition(fields["then"]),
        immediate=fields["immediate"],
    )


def _condition(fields: Mapping[str, Any]) -> Condition:
    kind: ConditionKind = fields["kind"]
    if kind == "report":
        return Reported(tuple(fields["kinds"]))
    members = MemberFilter(tuple(fields["members"]["triggers"]), tuple(fields["members"]["severities"]))
    if kind == "several":
        return Several(fields["at_least"], fields["window"], members)
    if kind == "cascade":
        depends_on = tuple((component, tuple(needed)) for component, needed in fields["depends_on"].items())
        return Cascade(fields["at_least"], fields["window"], depends_on, members)
    raise ValueError(f"{kind!r} is no condition of a compound trigger")


def of_members(rules: Iterable[CompoundRule]) -> tuple[CompoundRule, ...]:
    """Those that other triggers decide."""
    return tuple(rule for rule in rules if not isinstance(rule.condition, Reported))


def of_reports(rules: Iterable[CompoundRule]) -> tuple[CompoundRule, ...]:
    """Those that reports decide."""
    return tuple(rule for rule in rules if isinstance(rule.condition, Reported))


def digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
