"""Trigger files: our own format and the plan's, read with every mistake named.

triggers: [...]                 config/rollback/triggers.yml
business_impact_triggers: ...   config/rollback/business_triggers.yml, as the plan has it
enhanced_monitoring: ...        config/monitoring/enhanced_monitoring.yml, the same
compound_triggers: [...]        config/rollback/compound_triggers.yml
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from chassis.errors import ConfigError
from chassis.yaml_source import Located, Problems, load_yaml_file
from services.monitor.adapters.plan_entries import business_rule, early_warning
from services.monitor.adapters.trigger_entries import TriggerEntry
from services.monitor.domain.language.rules import ROLL_BACK, Rule
from services.monitor.domain.language.targets import Targets

EARLY = "early_warning_indicators"
OURS, PLANS, WARNINGS = "triggers", "business_impact_triggers", "enhanced_monitoring"
COMPOUND = "compound_triggers"
"""Read elsewhere (``compound_files``): they refer to all triggers."""
OTHER_FILES = frozenset({"notification_matrix", "notification_templates"})


def load_rules(paths: Sequence[Path], *, targets: Targets, playbooks: Collection[str]) -> tuple[Rule, ...]:
    """All triggers of these files; see ``read_rules``. Raises ConfigErrors with everything that is wrong
    in any of the files."""
    problems = Problems()
    reader = read_rules(paths, problems, targets=targets, playbooks=playbooks)
    problems.raise_any()
    return tuple(reader.rules)


def read_rules(
    paths: Sequence[Path], problems: Problems, *, targets: Targets, playbooks: Collection[str]
) -> RuleReader:
    """Read these files; what is wrong in any of them is added to ``problems``.

    ``playbooks`` are the components that have one. A file that is there for others (the
    communication plan) is passed over.
    """
    reader = RuleReader(targets, playbooks, problems)
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            problems.add(ConfigError("is named twice", place=str(path), mend="Name each file once"))
            continue
        seen.add(path.resolve())
        with problems.collect():
            reader.read(load_yaml_file(path))
    return reader


def is_for_others(document: Located) -> bool:
    """Whether a file of the directory holds no triggers, because it is another service's."""
    return document.is_mapping and set() < document.mapping().keys() <= OTHER_FILES


class RuleReader:
    """Collects the triggers of several documents; names are unique over all of them."""

    def __init__(self, targets: Targets, playbooks: Collection[str], problems: Problems) -> None:
        self.rules: list[Rule] = []
        self._targets = targets
        self._playbooks = playbooks
        self._problems = problems
        self._named: dict[str, Located] = {}

    @property
    def named(self) -> dict[str, str]:
        """The places of all triggers by name, also of those that something is wrong with."""
        return {name: node.place for name, node in self._named.items()}

    def read(self, document: Located) -> None:
        """Read one document; a mistake in one trigger does not hide those in the next."""
        if is_for_others(document):
            return
        collect = self._problems.collect
        fields = document.known_fields(self._problems, optional=(OURS, PLANS, WARNINGS, COMPOUND))
        if OURS in fields:
            with collect():
                for node in fields[OURS].sequence():
                    self._read(node, "name", lambda node: TriggerEntry(node, self._playbooks).rule())
        if PLANS in fields:
            with collect():
                for category, entries in fields[PLANS].mapping().items():
                    with collect():
                        for node in entries.sequence():
                            self._read(node, "metric", business_rule, category)
        if WARNINGS in fields:
            with collect():
                kinds = fields[WARNINGS].known_fields(self._problems, optional=(EARLY, "predictive_alerts"))
                for node in kinds[EARLY].sequence() if EARLY in kinds else ():
                    self._read(node, "metric", early_warning, EARLY)

    def _read(
        self, node: Located, key: str, read: Callable[[Located], Rule], category: str | None = None
    ) -> None:
        """Read one entry, whose name stands under ``key``."""
        with self._problems.collect():
            self._note_name(node, key, category)
        with self._problems.collect():
            self._add(read(node), node)

    def _note_name(self, node: Located, key: str, category: str | None) -> None:
        """A name is taken also by an entry that something else is wrong with."""
        named = node.mapping().get(key) if node.is_mapping else None
        if named is None or not isinstance(named.content, str):
            return
        name = named.content
        first = self._named.setdefault(name, node)
        if first is not node:
            mend = "Give it another name"
            if category is not None:
                mend = (
                    f"An entry under {category!r} is named by its metric: keep one of the two, or write "
                    f"this one under `{OURS}` with a name of its own"
                )
            raise named.error(f"the name {name!r} is taken (at {first.place})", mend=mend)

    def _add(self, rule: Rule, node: Located) -> None:
        if rule.action == ROLL_BACK and not self._targets.may_lead_somewhere(rule.metric):
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
