"""What ``backout triggers explain`` is asked: a breach by its id, or a trigger at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from chassis.errors import UsageError
from cli.times import parse_time
from schemas.commands import FULL_SYSTEM
from schemas.triggers import TriggerEvent
from services.monitor.adapters.config_directory import MonitorConfig
from services.monitor.adapters.explain_source import GroupWanted
from services.monitor.domain.compound.definitions import CompoundRule
from services.monitor.domain.language.rules import Rule

_ID = re.compile(r"(?P<trigger>[^:]+):(?P<component>[^:]+):(?P<began>\d{8}T\d{6}Z)")
_WITH_DIGEST = re.compile(r"(?P<component>.+)-(?P<digest>[0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments and options, as they were given."""

    trigger_id: str | None
    trigger: str | None
    component: str | None
    labels: tuple[str, ...]
    at: str | None
    since: str | None
    until: str | None

    @property
    def name(self) -> str | None:
        """The trigger's; None where neither an id nor a name is given."""
        return self.trigger if self.trigger_id is None else _parts(self.trigger_id)["trigger"]

    def seconds(self) -> tuple[int, int]:
        """The first and the last second asked about. Raises UsageError."""
        if self.at is not None and self.since is None and self.until is None:
            at = int(parse_time("--at", self.at))
            return at, at
        if self.at is not None or self.since is None:
            raise UsageError("give either --at, or --since (and --until)")
        until = "0s" if self.until is None else self.until
        first, last = int(parse_time("--since", self.since)), int(parse_time("--until", until))
        if last < first:
            raise UsageError(f"--until {self.until or 'now'} is before --since {self.since}")
        return first, last


@dataclass(frozen=True, slots=True)
class RuleQuestion:
    """Which trigger on which group, and either the id of its breach (``first`` and ``last`` are then its
    beginning) or the seconds to look at."""

    rule: Rule
    group: GroupWanted
    trigger_id: str | None
    first: int
    last: int
    event: TriggerEvent | None = None
    last_told: int | None = None


@dataclass(frozen=True, slots=True)
class CompoundQuestion:
    """Which compound trigger, and either the id of a firing and when the first member of it fired, or
    the seconds to look at."""

    rule: CompoundRule
    trigger_id: str | None
    first: int
    last: int


def rule_question(config: MonitorConfig, asked: Asked) -> RuleQuestion:
    """Raises UsageError for what is no question about a trigger that is known."""
    if asked.trigger_id is not None:
        parts = _id_alone(asked, asked.trigger_id)
        rule = _rule(config, parts["trigger"])
        group = _group_of_id(rule, parts["component"], asked.trigger_id)
        began = _began(parts)
        return RuleQuestion(rule, group, asked.trigger_id, began, began)
    # A name that is wrong is told first: of a compound trigger nothing else would be missing.
    named = None if asked.trigger is None else _rule(config, asked.trigger)
    if named is None or asked.component is None or not (asked.at or asked.since):
        raise UsageError("give an id, or --trigger, --component and --at (or --since)")
    group = GroupWanted(asked.component, _labels(named, asked.labels))
    return RuleQuestion(named, group, None, *asked.seconds())


def compound_question(config: MonitorConfig, asked: Asked) -> CompoundQuestion | None:
    """None where it is about no compound trigger."""
    rule = next((each for each in config.compounds if each.name == asked.name), None)
    if rule is None:
        return None
    if asked.trigger_id is not None:
        began = _began(_id_alone(asked, asked.trigger_id))
        return CompoundQuestion(rule, asked.trigger_id, began, began)
    if asked.labels or asked.component not in (None, FULL_SYSTEM):
        raise UsageError(f"{rule.name} is a compound trigger: leave --component and --label out")
    return CompoundQuestion(rule, None, *asked.seconds())


def _id_alone(asked: Asked, trigger_id: str) -> re.Match[str]:
    if asked.trigger or asked.component or asked.labels or asked.at or asked.since or asked.until:
        raise UsageError("give either an id or --trigger, --component, --label and --at (or --since)")
    return _parts(trigger_id)


def _parts(trigger_id: str) -> re.Match[str]:
    match = _ID.fullmatch(trigger_id)
    if match is None:
        example = "response_time_p95:pdf_extraction:20260101T000000Z"
        raise UsageError(f"{trigger_id}: not a trigger's id; one is {example}")
    return match


def _began(parts: re.Match[str]) -> int:
    try:
        return int(datetime.strptime(parts["began"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise UsageError(f"{parts[0]}: {parts['began']} is no time") from None


def _group_of_id(rule: Rule, name: str, trigger_id: str) -> GroupWanted:
    """The component, which a digest of the group's labels follows if there are some."""
    if not rule.selection.group_by:
        return GroupWanted(name)
    match = _WITH_DIGEST.fullmatch(name)
    if match is None:
        grouped = ", ".join(rule.selection.group_by)
        raise UsageError(f"{trigger_id}: {rule.name} is grouped by {grouped}, and the id has no digest of it")
    return GroupWanted(match["component"], digest=match["digest"])


def _labels(rule: Rule, texts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in rule.selection.group_by:
            known = ", ".join(rule.selection.group_by) or "the component alone"
            raise UsageError(f"--label {text}: write NAME=VALUE; {rule.name} is grouped by {known}")
        found[name] = value
    missing = [name for name in rule.selection.group_by if name not in found]
    if missing:
        raise UsageError(
            f"{rule.name} has a group for each {', '.join(missing)}: give --label {missing[0]}=…"
        )
    return found


def _rule(config: MonitorConfig, name: str) -> Rule:
    for rule in config.rules:
        if rule.name == name:
            return rule
    names = [*(rule.name for rule in config.rules), *(rule.name for rule in config.compounds)]
    known = ", ".join(sorted(names))
    raise UsageError(f"there is no trigger {name!r}. Known are {known}; --rules names other files")
