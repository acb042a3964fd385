"""One entry of a trigger file's ``triggers``, read with every mistake in it named."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from chassis.yaml_source import Located, Problems
from services.monitor.adapters.baseline_entries import BASELINE_KEY, read_baseline
from services.monitor.adapters.check_entries import CHECK_KEYS, NO_CHECK, CheckEntry
from services.monitor.adapters.rule_fields import EntryFields, read_duration, read_name
from services.monitor.domain.language.groups import Matcher, Selection, parse_matcher
from services.monitor.domain.language.phases import NoData, Terms
from services.monitor.domain.language.rules import (
    ACTION_KINDS,
    COMPONENT_PLACEHOLDER,
    DEFAULT_MAX_GROUPS,
    JOINS,
    ROLL_BACK,
    SEVERITIES,
    Action,
    Check,
    Join,
    Rule,
)

MAX_SAMPLES = 1_000_000
MAX_EVALUATIONS = 3_600

MAX_CHECKS = 8
MAX_GROUPS = 1_000_000

_CHECK = (*CHECK_KEYS, BASELINE_KEY)
_OPTIONAL = (
    "for",
    "keep_firing_for",
    "min_samples",
    "no_data",
    "matchers",
    "group_by",
    "severity",
    "then",
    "immediate",
    "only_within",
    "max_groups",
)
_NO_DATA: tuple[NoData, ...] = ("hold", "ok", "breach")


class TriggerEntry(EntryFields):
    """One entry of ``triggers``; ``playbooks`` are the components that have one."""

    def __init__(self, node: Located, playbooks: Collection[str]) -> None:
        super().__init__(node, Problems())
        self._playbooks = playbooks
        with self._problems.collect():
            node.fields(required=("name",), optional=(*JOINS, *_CHECK, *_OPTIONAL))

    def rule(self) -> Rule:
        """The rule; raises ConfigErrors with everything that is wrong with it."""
        name = ""
        if "name" in self._fields:
            with self._problems.collect():
                name = read_name(self._fields["name"])
        first, *further = self._checks()
        rule = Rule(
            name=name,
            metric=first.metric,
            aggregate=first.aggregate,
            window=first.window,
            when=first.when,
            clear=first.clear,
            to=first.to,
            join=self._joined_by() or "all",
            further=tuple(further),
            terms=self._terms(),
            severity=self._choice("severity", SEVERITIES, "high"),
            action=self._action(),
            immediate=self._immediate(),
            selection=self._selection(),
            baseline=first.baseline,
            only_within=self._only_within(),
            max_groups=self._max_groups(),
            place=self._node.place,
        )
        self._problems.raise_any()
        return rule

    def _joined_by(self) -> Join | None:
        return next((join for join in JOINS if join in self._fields), None)

    def _checks(self) -> list[Check]:
        join = self._joined_by()
        if all(join in self._fields for join in JOINS):
            mend = "Write two triggers, or one whose metric joins them"
            self._problems.add(self._fields["any"].error("has both `all` and `any`", mend=mend))
        if join is None:
            return [self._check(self._node)]
        for key in _CHECK:
            if key in self._fields:
                mend = f"Write it in the conditions under `{join}` that it is of"
                problem = self._fields[key].error(f"`{key}` stands beside `{join}`, not in it", mend=mend)
                self._problems.add(problem)
        checks = []
        with self._problems.collect():
            node = self._fields[join]
            for item in node.sequence():
                with self._problems.collect():
                    item.fields(optional=_CHECK)
                    checks.append(self._check(item))
            if not 2 <= len(node.sequence()) <= MAX_CHECKS:
                mend = f"Write 2 to {MAX_CHECKS} of them; a single one needs no `{join}`"
                raise node.error(f"{len(node.sequence())} conditions under `{join}`", mend=mend)
        return checks or [NO_CHECK]

    def _check(self, node: Located) -> Check:
        check = CheckEntry(node, self._problems).check()
        fields = node.mapping()
        if BASELINE_KEY in fields:
            with self._problems.collect():
                return replace(check, baseline=read_baseline(fields[BASELINE_KEY], check))
        return check

    def _terms(self) -> Terms:
        lasting, quorum = self._lasting()
        keep = self._duration("keep_firing_for", 0, least=0)
        no_data = self._choice("no_data", _NO_DATA, "hold")
        return Terms(lasting, keep, self._min_samples(), no_data, quorum)

    def _lasting(self) -> tuple[int, int | None]:
        """``for: 5m``, or ``for: {breaching: 4m, of: 5m}``; bare numbers are evaluations, one a second."""
        node = self._fields.get("for")
        if node is None or not node.is_mapping:
            return self._duration("for", 0, least=0), None
        with self._problems.collect():
            fields = node.fields(required=("breaching", "of"))
            quorum, lasting = (_evaluations(fields[key]) for key in ("breaching", "of"))
            if not quorum <= lasting <= MAX_EVALUATIONS:
                mend = f"Write {{breaching: 8, of: 10}}; `of` is at most {MAX_EVALUATIONS}"
                raise node.error(f"{quorum} breaching of {lasting} evaluations cannot be", mend=mend)
            return lasting, quorum
        return 0, None

    def _min_samples(self) -> int:
        return self._count("min_samples", 1, most=MAX_SAMPLES, mend="Write 3, say")

    def _max_groups(self) -> int:
        return self._count("max_groups", DEFAULT_MAX_GROUPS, most=MAX_GROUPS, mend="Write 10000, say")

    def _count(self, key: str, default: int, *, most: int, mend: str) -> int:
        if key in self._fields:
            with self._problems.collect():
                node = self._fields[key]
                if not 1 <= node.integer() <= most:
                    raise node.error(f"`{key}` must be at least 1 and at most {most}", mend=mend)
                return node.integer()
        return default

    def _only_within(self) -> int | None:
        if "only_within" in self._fields:
            with self._problems.collect():
                return read_duration(self._fields["only_within"], least=1)
        return None

    def _immediate(self) -> bool:
        if "immediate" in self._fields:
            with self._problems.collect():
                return self._fields["immediate"].boolean()
        return False

    def _selection(self) -> Selection:
        matchers: list[Matcher] = []
        if "matchers" in self._fields:
            with self._problems.collect():
                for node in self._fields["matchers"].sequence():
                    with self._problems.collect():
                        matchers.append(_matcher(node))
        return Selection(tuple(matchers), self._group_by())

    def _group_by(self) -> tuple[str, ...]:
        """The labels besides the component, in order."""
        if "group_by" not in self._fields:
            return ()
        with self._problems.collect():
            node = self._fields["group_by"]
            labels = [item.string() for item in node.sequence()]
            if "component" not in labels:
                raise node.error("must contain `component`", mend="Write `group_by: [component]`")
            if len(set(labels)) < len(labels):
                raise node.error("names a label twice", mend="Name each label once")
            return tuple(sorted(label for label in labels if label != "component"))
        return ()

    def _action(self) -> Action:
        if "then" not in self._fields:
            return ROLL_BACK
        with self._problems.collect():
            node = self._fields["then"]
            fields = node.fields(optional=ACTION_KINDS)
            if len(fields) != 1:
                mend = 'Write one of them, as in then: {rollback: "{component}"}'
                raise node.error(f"one action is needed: {', '.join(ACTION_KINDS)}", mend=mend)
            kind = next(kind for kind in ACTION_KINDS if kind in fields)
            target = fields[kind]
            is_playbook = target.string() == COMPONENT_PLACEHOLDER or read_name(target) in self._playbooks
            if kind == "rollback" and not is_playbook:
                known = ", ".join(sorted(self._playbooks)) or "none"
                raise target.error(
                    f"the trigger leads nowhere: there is no playbook {target.string()!r}",
                    mend=f"Name a component with a playbook ({known}) or {COMPONENT_PLACEHOLDER!r}",
                )
            return Action(kind, target.string())
        return ROLL_BACK


def _matcher(node: Located) -> Matcher:
    mend = 'Write a label, one of = != =~ !~, and a value, as in route="/pay" or host=~"web-.*"'
    try:
        return parse_matcher(node.string())
    except ValueError as error:
        raise node.error(str(error), mend=mend) from None


def _evaluations(node: Located) -> int:
    if not isinstance(node.content, int) or isinstance(node.content, bool):
        return read_duration(node, least=1)
    if node.integer() < 1:
        raise node.error("`breaching` and `of` must be at least 1", mend="Write 8, or a duration such as 4m")
    return node.integer()
