"""Which trigger, and which of its groups, an expectation of a test is about.

A trigger may have several groups of one component. An expectation that fits more than one of those
in its test is a mistake of whoever wrote it, and no reason to judge any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chassis.yaml_source import Located
from schemas.commands import FULL_SYSTEM
from services.monitor.adapters.config_directory import MonitorConfig
from services.monitor.domain.compound.definitions import CompoundRule
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.phases import Phase
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.trials.trigger_tests import InputSeries


class Subjects:
    """The triggers of a test file, over the input series of one test."""

    def __init__(self, config: MonitorConfig, series: Sequence[InputSeries]) -> None:
        self._named: dict[str, Rule | CompoundRule] = {}
        self._named.update((each.name, each) for each in config.rules)
        self._named.update((each.name, each) for each in config.compounds)
        self._series = series
        self._components = tuple({each.component: None for each in series})

    def named(self, node: Located) -> Rule | CompoundRule:
        """The trigger of this name. Raises ConfigError if there is none."""
        return self._named[node.one_of(self._named)]

    def phase(self, node: Located, subject: Rule | CompoundRule, known: Sequence[Phase]) -> Phase:
        """Raises ConfigError for what is none, or none of such a trigger."""
        text = node.one_of(known)
        if text == "pending" and isinstance(subject, CompoundRule):
            raise node.error(
                f"{subject.name} is a compound trigger, which is never pending",
                mend="Write inactive or firing",
            )
        return next(phase for phase in known if phase == text)

    def group(self, node: Located, fields: Mapping[str, Located], subject: Rule | CompoundRule) -> Group:
        """The group that ``component`` and ``labels`` name. Raises ConfigError where they name none of
        the test, or more than one."""
        if isinstance(subject, CompoundRule):
            return _whole_system(fields, subject)
        if "component" not in fields:
            raise node.error(
                "names no component", mend=f"Add `component:`, one of {_listed(self._components)}"
            )
        component = known_component(fields["component"], self._components)
        wanted = self._labels(fields["labels"], subject) if "labels" in fields else {}
        groups = self._groups(subject, component)
        fitting = [group for group in groups if wanted.items() <= dict(group.labels).items()]
        if len(fitting) == 1:
            return fitting[0]
        if len(fitting) > 1:
            raise node.error(
                f"{subject.name} has {len(fitting)} groups of {component} that this fits: "
                f"{', '.join(map(_written, fitting))}",
                mend=f"Say which one is meant: `labels: {_written(fitting[0])}`",
            )
        if wanted:
            known = ", ".join(map(_written, groups)) or "none"
            raise fields["labels"].error(
                f"no input series makes such a group of {component}", mend=f"Groups of this test: {known}"
            )
        # No series of the component counts for the trigger: its only group never begins.
        return Group(component, tuple((name, "") for name in subject.selection.group_by))

    def _labels(self, node: Located, rule: Rule) -> dict[str, str]:
        grouped = rule.selection.group_by
        found = {}
        for name, value in node.mapping().items():
            if name not in grouped:
                mend = f"Name one of {_listed(grouped)}" if grouped else "Leave `labels` out"
                by = _listed(grouped) if grouped else "the component alone"
                raise node.error(f"{rule.name} is grouped by {by}, not by {name!r}", mend=mend)
            found[name] = value.string()
        return found

    def _groups(self, rule: Rule, component: str) -> list[Group]:
        found = {
            rule.selection.group_of(each.component, each.labels or {})
            for each in self._series
            if each.component == component and each.metric in rule.metrics
        }
        return sorted(group for group in found if group is not None)


def known_component(node: Located, components: Sequence[str]) -> str:
    """Raises ConfigError for a component that no input series has."""
    name = node.string()
    if name not in components:
        raise node.error(
            f"no input series is of the component {name!r}",
            mend=f"Components of this test: {_listed(components)}",
        )
    return name


def _whole_system(fields: Mapping[str, Located], rule: CompoundRule) -> Group:
    if "labels" in fields:
        raise fields["labels"].error(
            f"{rule.name} is a compound trigger, which has no labels", mend="Leave `labels` out"
        )
    if "component" in fields and fields["component"].string() != FULL_SYSTEM:
        raise fields["component"].error(
            f"{rule.name} is a compound trigger, which is of the whole system",
            mend=f"Leave `component` out, or write {FULL_SYSTEM}",
        )
    return Group(FULL_SYSTEM)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _written(group: Group) -> str:
    """As it is written in a file."""
    return "{" + ", ".join(f"{name}: {value!r}" for name, value in group.labels) + "}"
