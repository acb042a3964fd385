"""Trigger files: our own format and the plan's, read with every mistake named.

triggers: [...]                 config/rollback/triggers.yml
business_impact_triggers: ...   config/rollback/business_triggers.yml, as the plan has it
enhanced_monitoring: ...        config/monitoring/enhanced_monitoring.yml, the same
compound_triggers: [...]        config/rollback/compound_triggers.yml
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from chassis.errors import ConfigError
from chassis.yaml_source import Located, Problems, load_yaml_file
from services.monitor.adapters.plan_entries import business_rule, early_warning
from services.monitor.adapters.trigger_entries import TriggerEntry
from services.monitor.domain.language.rules import ROLL_BACK, Rule
from services.monitor.domain.language.targets import Targets

OURS, PLANS, WARNINGS = "triggers", "business_impact_triggers", "enhanced_monitoring"
COMPOUND = "compound_triggers"
"""Read elsewhere (``compound_files``): they refer to all triggers."""
OTHER_FILES = frozenset({"notification_matrix", "notification_templates"})


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
        if others_allowed and keys.keys() <= OTHER_FILES:
            return
        fields = document.fields(optional=(OURS, PLANS, WARNINGS, COMPOUND))
        if OURS in fields:
            for node in fields[OURS].sequence():
                with self._problems.collect():
                    self._add(TriggerEntry(node, self._playbooks).rule(), node)
        if PLANS in fields:
            for category, entries in fields[PLANS].mapping().items():
                with self._problems.collect():
                    for node in entries.sequence():
                        with self._problems.collect():
                            self._add(business_rule(node), node, category)

        if WARNINGS in fields:
            kinds = fields[WARNINGS].fields(optional=("early_warning_indicators", "predictive_alerts"))
            if "early_warning_indicators" in kinds:
                for node in kinds["early_warning_indicators"].sequence():
                    with self._problems.collect():
                        self._add(early_warning(node), node, "early_warning_indicators")

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
