"""Trigger files: our own format and the plan's, read with every mistake named.

    triggers: [...]                 config/rollback/triggers.yml
    business_impact_triggers: ...   config/rollback/business_triggers.yml, as the plan has it

What later versions will read (further aggregates, ratios, compound triggers, groups by label,
the plan's early warnings and predictions) is refused with a message that says so: a trigger
that is silently not evaluated protects nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from chassis.errors import ConfigError
from chassis.yaml_source import Located, Problems, load_yaml_file
from services.monitor.domain.conditions import OPERATORS, Condition, parse_condition
from services.monitor.domain.durations import parse_duration
from services.monitor.domain.phases import NoData, Terms
from services.monitor.domain.rules import AGGREGATES, COMPONENT_PLACEHOLDER, SEVERITIES, Aggregate, Rule
from services.monitor.domain.targets import Targets

OURS, PLANS, WARNINGS = "triggers", "business_impact_triggers", "enhanced_monitoring"
OTHER_FILES = frozenset({"notification_matrix", "notification_templates"})
DEFAULT_STALENESS_S = 300
PLAN_STALENESS_S, PLAN_MIN_SAMPLES = 30, 3
"""The plan's business triggers cannot say these: one bad sample and then silence fires nothing."""
MAX_WINDOW_S = 86_400
"""A pane a second is kept for each component: 7 MB for a day. Also the longest `staleness`."""
MAX_SAMPLES = 1_000_000

_REQUIRED = ("name", "metric", "when")
_OPTIONAL = (
    "aggregate",
    "window",
    "staleness",
    "clear",
    "for",
    "keep_firing_for",
    "min_samples",
    "no_data",
    "group_by",
    "severity",
    "then",
    "immediate",
)
_LATER_AGGREGATES = frozenset({"rate", "p50", "p90", "p99", "stddev", "increase"})
_LATER_KEYS = frozenset({"ratio", "all_of", "any_of", "at_least", "compound", "labels", "where", "baseline"})
_LATER_ACTIONS = frozenset({"validate", "notify", "health_check"})
_NO_DATA: tuple[NoData, ...] = ("hold", "ok", "breach")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")

Choice = TypeVar("Choice", bound=str)


def load_rules(
    paths: Sequence[Path], *, targets: Targets, playbooks: Collection[str], missing_is_error: bool = True
) -> tuple[Rule, ...]:
    """All triggers of these files.

    ``playbooks`` are the components that have one. With ``missing_is_error`` False a file that
    is there for others (the communication plan) is passed over. Raises ConfigErrors with
    everything that is wrong in any of the files.
    """
    problems = Problems()
    reader = RuleReader(targets, playbooks, problems)
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            problems.add(ConfigError("is named twice", place=str(path), mend="Name each file once"))
            continue
        seen.add(path.resolve())
        with problems.collect():
            reader.read(load_yaml_file(path), others_allowed=not missing_is_error)
    problems.raise_any()
    return tuple(reader.rules)


class RuleReader:
    """Collects the triggers of several documents; names are unique over all of them."""

    def __init__(self, targets: Targets, playbooks: Collection[str], problems: Problems) -> None:
        self.rules: list[Rule] = []
        self._targets = targets
        self._playbooks = playbooks
        self._problems = problems
        self._named: dict[str, Located] = {}

    def read(self, document: Located, *, others_allowed: bool = False) -> None:
        """Read one document; a mistake in one trigger does not hide those in the next."""
        keys = document.mapping()
        if WARNINGS in keys:
            raise ConfigError(
                "early warnings and predictions are not evaluated yet",
                place=f"{document.name}:{document.key_lines[WARNINGS]}",
                mend="Leave this file out; triggers are read from config/rollback",
            )
        if others_allowed and keys.keys() <= OTHER_FILES:
            return
        fields = document.fields(optional=(OURS, PLANS))
        if OURS in fields:
            for node in fields[OURS].sequence():
                with self._problems.collect():
                    self._add(_Trigger(node, self._playbooks).rule(), node)
        if PLANS in fields:
            for category, entries in fields[PLANS].mapping().items():
                with self._problems.collect():
                    for node in entries.sequence():
                        with self._problems.collect():
                            self._add(_business_rule(node), node, category)

    def _add(self, rule: Rule, node: Located, category: str | None = None) -> None:
        first = self._named.setdefault(rule.name, node)
        if first is not node:
            named = node.mapping().get("name", node)
            mend = "Give it another name"
            if category is not None:
                mend = (
                    f"An entry under {category!r} is named by its metric: keep one of the two, or write "
                    f"this one under `{OURS}` with a name of its own"
                )
            raise named.error(f"the name {rule.name!r} is taken (at {first.place})", mend=mend)
        if rule.rollback == COMPONENT_PLACEHOLDER and not self._targets.may_lead_somewhere(rule.metric):
            raise (
                node.mapping()
                .get("then", node)
                .error(
                    f"the trigger {rule.name!r} leads nowhere: targets.yml has no line for {rule.metric!r} "
                    "and no default",
                    mend='Add a line or `default: "{component}"` to targets.yml',
                )
            )
        self.rules.append(rule)


class _Trigger:
    """Reads one entry of ``triggers``."""

    def __init__(self, node: Located, playbooks: Collection[str]) -> None:
        self._node = node
        self._playbooks = playbooks
        self._problems = Problems()
        for key in node.mapping():
            if key in _LATER_KEYS:
                self._refuse_later(node.mapping()[key], f"`{key}`")
        with self._problems.collect():
            node.fields(required=_REQUIRED, optional=_OPTIONAL)
        self._fields = node.mapping()

    def rule(self) -> Rule:
        """The rule; raises ConfigErrors with everything that is wrong with it."""
        name = metric = ""
        when: Condition | None = None
        clear: Condition | None = None
        if "name" in self._fields:
            with self._problems.collect():
                name = _name(self._fields["name"])
        if "metric" in self._fields:
            with self._problems.collect():
                metric = self._fields["metric"].string()
        if "when" in self._fields:
            with self._problems.collect():
                when = self._condition("when")
            with self._problems.collect():
                clear = self._clear(when)
        aggregate, window = self._aggregate_and_window()
        rule = Rule(
            name=name,
            metric=metric,
            aggregate=aggregate,
            window=window,
            when=when or Condition(">", 0.0),
            clear=clear,
            terms=self._terms(),
            severity=self._choice("severity", SEVERITIES, "high"),
            rollback=self._rollback(),
            immediate=self._immediate(),
            place=self._node.place,
        )
        self._group_by()
        self._problems.raise_any()
        return rule

    def _terms(self) -> Terms:
        lasting = self._duration("for", 0, least=0)
        keep = self._duration("keep_firing_for", 0, least=0)
        return Terms(lasting, keep, self._min_samples(), self._choice("no_data", _NO_DATA, "hold"))

    def _condition(self, key: str) -> Condition:
        node = self._fields[key]
        if node.is_mapping:
            self._refuse_later(node, "a ratio of two metrics")
        text = node.string()
        try:
            return parse_condition(text)
        except ValueError as error:
            if "%" in text or "increase" in text or "decrease" in text:
                self._refuse_later(node, f"a relative threshold ({text!r})")
            operators = " ".join(OPERATORS)
            mend = f'Write an operator ({operators}) and a number, as in {key}: "> 3000"'
            raise node.error(str(error), mend=mend) from None

    def _clear(self, when: Condition | None) -> Condition | None:
        if "clear" not in self._fields:
            return None
        clear = self._condition("clear")
        if when is not None and not clear.excludes(when):
            raise self._fields["clear"].error(
                f"`clear: {clear}` overlaps with `when: {when}`, or does not look the other way",
                mend='A trigger of `when: "> 3000"` may have `clear: "< 2500"`',
            )
        return clear

    def _aggregate_and_window(self) -> tuple[Aggregate, int]:
        aggregate: Aggregate | None = None if "aggregate" in self._fields else "last"
        if aggregate is None:
            with self._problems.collect():
                node = self._fields["aggregate"]
                if node.content in _LATER_AGGREGATES:
                    self._refuse_later(node, f"the aggregate {node.content!r}")
                aggregate = _among(node, AGGREGATES)
        if aggregate is None:
            return "last", DEFAULT_STALENESS_S
        if aggregate == "last":
            self._forbid("window", "`last` looks at the newest sample; how long it counts is its `staleness`")
            return aggregate, self._window("staleness", DEFAULT_STALENESS_S)
        self._forbid("staleness", f"`{aggregate}` looks at a `window`; only `last` has a `staleness`")
        if "window" not in self._fields:
            mend = "Add `window: 1m`"
            self._problems.add(self._node.error(f"the aggregate {aggregate!r} needs a window", mend=mend))
        return aggregate, self._window("window", 60)

    def _window(self, key: str, default: int) -> int:
        seconds = self._duration(key, default, least=1)
        if seconds > MAX_WINDOW_S:
            mend = "Write a shorter one, or let the metric itself sum it up"
            self._problems.add(self._fields[key].error(f"a {key} is a day at most", mend=mend))
        return seconds

    def _forbid(self, key: str, why: str) -> None:
        if key in self._fields:
            self._problems.add(self._fields[key].error(why, mend=f"Remove `{key}`"))

    def _duration(self, key: str, default: int, *, least: int) -> int:
        if key in self._fields:
            with self._problems.collect():
                return _duration(self._fields[key], least=least)
        return default

    def _choice(self, key: str, choices: Sequence[Choice], default: Choice) -> Choice:
        if key in self._fields:
            with self._problems.collect():
                return _among(self._fields[key], choices)
        return default

    def _min_samples(self) -> int:
        if "min_samples" in self._fields:
            with self._problems.collect():
                node = self._fields["min_samples"]
                if not 1 <= node.integer() <= MAX_SAMPLES:
                    raise node.error(f"must be at least 1 and at most {MAX_SAMPLES}", mend="Write 3, say")
                return node.integer()
        return 1

    def _immediate(self) -> bool:
        if "immediate" in self._fields:
            with self._problems.collect():
                return self._fields["immediate"].boolean()
        return False

    def _group_by(self) -> None:
        if "group_by" not in self._fields:
            return
        with self._problems.collect():
            node = self._fields["group_by"]
            labels = [item.string() for item in node.sequence()]
            if "component" not in labels:
                raise node.error("must contain `component`", mend="Write `group_by: [component]`")
            if labels != ["component"]:
                self._refuse_later(node, "grouping by further labels")

    def _rollback(self) -> str:
        if "then" not in self._fields:
            return COMPONENT_PLACEHOLDER
        with self._problems.collect():
            node = self._fields["then"]
            for action in node.mapping():
                if action in _LATER_ACTIONS:
                    self._refuse_later(node, f"the action `{action}`")
            target = node.fields(required=("rollback",))["rollback"]
            if target.string() != COMPONENT_PLACEHOLDER and _name(target) not in self._playbooks:
                known = ", ".join(sorted(self._playbooks)) or "none"
                raise target.error(
                    f"the trigger leads nowhere: there is no playbook {target.string()!r}",
                    mend=f"Name a component with a playbook ({known}) or {COMPONENT_PLACEHOLDER!r}",
                )
            return target.string()
        return COMPONENT_PLACEHOLDER

    def _refuse_later(self, node: Located, what: str) -> NoReturn:
        raise node.error(f"{what} is not supported yet", mend="Use a threshold on one metric by component")


def _business_rule(node: Located) -> Rule:
    """An entry of the plan's business triggers, which name no operator, component or action."""
    fields = node.fields(required=("metric", "threshold", "duration"), optional=("immediate_rollback",))
    problems = Problems()
    metric, threshold, lasting, immediate = "", 0.0, 0, False
    with problems.collect():
        metric = _name(fields["metric"])
    with problems.collect():
        threshold = fields["threshold"].number()
    with problems.collect():
        lasting = _duration(fields["duration"], least=0)
    if "immediate_rollback" in fields:
        with problems.collect():
            immediate = fields["immediate_rollback"].boolean()
    problems.raise_any()
    return Rule(
        name=metric,
        metric=metric,
        aggregate="last",
        window=PLAN_STALENESS_S,
        when=Condition(">", threshold),
        clear=None,
        terms=Terms(lasting, min_samples=PLAN_MIN_SAMPLES),
        severity="high",
        immediate=immediate,
        place=node.place,
    )


def _name(node: Located) -> str:
    text = node.string()
    if not _NAME.fullmatch(text):
        mend = "Use letters, digits, '_', '.' and '-', up to 128, beginning with a letter or digit"
        raise node.error(f"{text!r} is not a name", mend=mend)
    return text


def _duration(node: Located, *, least: int) -> int:
    mend = "Write whole seconds, minutes or hours, as in 30s, 5m or 1h30m"
    if isinstance(node.content, int | float) and not isinstance(node.content, bool):
        raise node.error(f"{node.content} has no unit", mend=mend)
    try:
        seconds = parse_duration(node.string())
    except ValueError as error:
        raise node.error(str(error), mend=mend) from None
    if seconds < least:
        raise node.error(f"is shorter than {least}s", mend=mend)
    return seconds


def _among(node: Located, choices: Iterable[Choice]) -> Choice:
    known = tuple(choices)
    text = node.one_of(known)
    return next(choice for choice in known if choice == text)
