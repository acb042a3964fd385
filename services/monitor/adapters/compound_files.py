"""Compound triggers: ``compound_triggers`` of the trigger files, read with every mistake named.

    compound_triggers:
      - name: several_components_failing
        at_least: 3 components
        window: 5m
        members: {severity: [high, critical]}
      - {name: cascading_failure, cascade: 3 components, window: 15m}
      - {name: data_corruption, report: data_corruption, immediate: true}

``then`` is ``{rollback: full_system}`` unless it is written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chassis.errors import ConfigError
from chassis.yaml_source import Located, Problems, load_yaml_file
from schemas.commands import FULL_SYSTEM
from services.monitor.adapters.dependencies import Dependencies, widest_spread
from services.monitor.adapters.rule_fields import EntryFields, read_choice, read_name
from services.monitor.adapters.rule_files import COMPOUND
from services.monitor.domain.compound.definitions import (
    FULL_ROLLBACK,
    REPORT_KINDS,
    Cascade,
    CompoundRule,
    Condition,
    MemberFilter,
    Reported,
    Several,
)
from services.monitor.domain.language.rules import (
    ACTION_KINDS,
    COMPONENT_PLACEHOLDER,
    SEVERITIES,
    Action,
    Rule,
    Severity,
)

MOST_COMPONENTS = 1_000
LONGEST_WINDOW_S = 86_400
_CONDITIONS = ("at_least", "cascade", "report")
_OPTIONAL = (*_CONDITIONS, "window", "members", "severity", "then", "immediate")
_COUNT = re.compile(r"\s*(\d{1,6})(\s+components?)?\s*")
_NO_CONDITION = Reported(())


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an entry refers to: the triggers by name, each with its place, the components that have a
    playbook, and which component depends on which."""

    triggers: Mapping[str, str]
    playbooks: Collection[str]
    depends_on: Dependencies


def load_compounds(paths: Iterable[Path], around: Surroundings) -> tuple[CompoundRule, ...]:
    """The compound triggers of these files; a file without any has none.

    Raises ConfigErrors with everything that is wrong in any of the files.
    """
    problems = Problems()
    rules: list[CompoundRule] = []
    named: dict[str, str] = {}
    for path in paths:
        with problems.collect():
            document = load_yaml_file(path).mapping()
            for node in document[COMPOUND].sequence() if COMPOUND in document else ():
                with problems.collect():
                    rule = CompoundEntry(node, around).rule()
                    _check_name(rule, node, named, around)
                    rules.append(rule)
    problems.raise_any()
    return tuple(rules)


def triggers_named(rules: Iterable[Rule]) -> dict[str, str]:
    """The places of triggers by name."""
    return {rule.name: rule.place for rule in rules}


def _check_name(rule: CompoundRule, node: Located, named: dict[str, str], around: Surroundings) -> None:
    taken = around.triggers.get(rule.name) or named.get(rule.name)
    if taken is not None:
        where = node.mapping()["name"]
        raise where.error(f"the name {rule.name!r} is taken (at {taken})", mend="Give it another name")
    named[rule.name] = node.place


class CompoundEntry(EntryFields):
    """One entry of ``compound_triggers``."""

    def __init__(self, node: Located, around: Surroundings) -> None:
        super().__init__(node, Problems())
        self._around = around
        with self._problems.collect():
            node.fields(required=("name",), optional=_OPTIONAL)

    def rule(self) -> CompoundRule:
        """The compound trigger; raises ConfigErrors with everything that is wrong with it."""
        name = ""
        if "name" in self._fields:
            with self._problems.collect():
                name = read_name(self._fields["name"])
        immediate = False
        if "immediate" in self._fields:
            with self._problems.collect():
                immediate = self._fields["immediate"].boolean()
        rule = CompoundRule(
            name=name,
            condition=self._condition(),
            severity=self._choice("severity", SEVERITIES, "critical"),
            action=self._action(),
            immediate=immediate,
            place=self._node.place,
        )
        self._problems.raise_any()
        return rule

    def _condition(self) -> Condition:
        given = [key for key in _CONDITIONS if key in self._fields]
        if len(given) != 1:
            mend = (
                "Write one of `at_least: 3 components`, `cascade: 3 components` and `report: data_corruption`"
            )
            found = " and ".join(f"`{key}`" for key in given) or "no condition"
            self._problems.add(self._node.error(f"{found} where one condition is needed", mend=mend))
            return _NO_CONDITION
        if given == ["report"]:
            for key in ("window", "members"):
                self._forbid(key, "a report fires by itself")
            return self._reported()
        count = self._count(given[0])
        window = self._window()
        members = self._members()
        if given == ["at_least"]:
            return Several(count, window, members)
        return self._cascade(count, window, members)

    def _reported(self) -> Reported:
        node = self._fields["report"]
        with self._problems.collect():
            items = node.sequence() if node.is_sequence else (node,)
            kinds = tuple(dict.fromkeys(read_choice(item, REPORT_KINDS) for item in items))
            if not kinds:
                raise node.error("names no kind of report", mend=f"Known here: {', '.join(REPORT_KINDS)}")
            return Reported(kinds)
        return _NO_CONDITION

    def _count(self, key: str) -> int:
        """``3`` or ``3 components``."""
        node = self._fields[key]
        with self._problems.collect():
            content = node.content
            number = content if isinstance(content, int) and not isinstance(content, bool) else None
            if number is None:
                match = _COUNT.fullmatch(node.string())
                number = None if match is None else int(match[1])
            if number is None:
                raise node.error(
                    f"{node.content!r} is no number of components", mend=f"Write `{key}: 3 components`"
                )
            if not 2 <= number <= MOST_COMPONENTS:
                mend = f"Write 2 to {MOST_COMPONENTS}; what one component does is for an ordinary trigger"
                raise node.error(f"{number} components are not several", mend=mend)
            return number
        return 2

    def _window(self) -> int:
        if "window" not in self._fields:
            mend = "Add `window: 5m`: how far apart the components may have fired"
            self._problems.add(self._node.error("the key 'window' is missing", mend=mend))
        seconds = self._duration("window", 60, least=1)
        if seconds > LONGEST_WINDOW_S:
            self._problems.add(self._fields["window"].error("a window is a day at most", mend="Write less"))
        return seconds

    def _cascade(self, count: int, window: int, members: MemberFilter) -> Condition:
        depends_on = self._around.depends_on
        spread = widest_spread(depends_on)
        if spread < count:
            found = f"a failure can spread over {spread} components at most" if spread else "nothing depends"
            error = self._fields["cascade"].error(
                f"can never fire: {found}, as `depends_on` of targets.yml has it",
                mend=f"Write there which component depends on which, as in `{_EXAMPLE}`",
            )
            self._problems.add(error)
        ordered = tuple(sorted((name, tuple(sorted(needed))) for name, needed in depends_on.items()))
        return Cascade(count, window, ordered, members)

    def _members(self) -> MemberFilter:
        everyone = MemberFilter()
        if "members" not in self._fields:
            return everyone
        triggers: list[str] = []
        severities: list[Severity] = []
        with self._problems.collect():
            node = self._fields["members"]
            fields = node.fields(optional=("triggers", "severity"))
            if not fields:
                raise node.error("restricts nothing", mend="Name `triggers` or `severity`, or leave it out")
            for item in _items(fields.get("triggers")):
                with self._problems.collect():
                    triggers.append(self._trigger(item))
            for item in _items(fields.get("severity")):
                with self._problems.collect():
                    severities.append(read_choice(item, SEVERITIES))
        return MemberFilter(tuple(dict.fromkeys(triggers)), tuple(dict.fromkeys(severities)) or SEVERITIES)

    def _trigger(self, node: Located) -> str:
        return node.one_of(self._around.triggers)

    def _action(self) -> Action:
        if "then" not in self._fields:
            return FULL_ROLLBACK
        with self._problems.collect():
            node = self._fields["then"]
            fields = node.fields(optional=ACTION_KINDS)
            if len(fields) != 1:
                mend = f"Write one of them, as in then: {{rollback: {FULL_SYSTEM}}}"
                raise node.error(f"one action is needed: {', '.join(ACTION_KINDS)}", mend=mend)
            kind = next(kind for kind in ACTION_KINDS if kind in fields)
            target = fields[kind]
            if target.string() == COMPONENT_PLACEHOLDER:
                mend = f"Name one, or {FULL_SYSTEM!r}, which stands for all of them"
                raise target.error("a compound trigger is of no single component", mend=mend)
            name = read_name(target)
            if kind == "rollback" and name != FULL_SYSTEM and name not in self._around.playbooks:
                raise self._leads_nowhere(target)
            return Action(kind, name)
        return FULL_ROLLBACK

    def _leads_nowhere(self, target: Located) -> ConfigError:
        known = ", ".join(sorted({*self._around.playbooks, FULL_SYSTEM}))
        return target.error(
            f"the trigger leads nowhere: there is no playbook {target.string()!r}",
            mend=f"Known here: {known}",
        )


_EXAMPLE = "depends_on: {query_api: [vector_store]}"


def _items(node: Located | None) -> tuple[Located, ...]:
    """The items of a list, or the one that is written without one."""
    if node is None:
        return ()
    items = node.sequence() if node.is_sequence else (node,)
    if not items:
        raise node.error("is an empty list", mend="Name one at least, or leave it out")
    return items
