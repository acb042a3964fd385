"""One entry of a trigger file's ``triggers``, read with every mistake in it named.

What later versions will read (ratios, several conditions, baselines) is refused with a
message that says so: a trigger that is silently not evaluated protects nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NoReturn

from chassis.yaml_source import Located, Problems
from services.monitor.adapters.rule_fields import Choice, read_choice, read_duration, read_name
from services.monitor.domain.conditions import OPERATORS, Condition, parse_condition
from services.monitor.domain.groups import Matcher, Selection, parse_matcher
from services.monitor.domain.pane_bank import CHANGE_PARTS
from services.monitor.domain.phases import NoData, Terms
from services.monitor.domain.rules import (
    ACTION_KINDS,
    AGGREGATES,
    COMPONENT_PLACEHOLDER,
    ROLL_BACK,
    SEVERITIES,
    Action,
    Aggregate,
    Rule,
)

DEFAULT_STALENESS_S = 300
MAX_WINDOW_S = 86_400
"""A pane a second is kept for each component: 7 MB for a day. Also the longest `staleness`."""
MAX_SAMPLES = 1_000_000
MAX_EVALUATIONS = 3_600

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
    "matchers",
    "group_by",
    "severity",
    "then",
    "immediate",
)
_LATER_KEYS = frozenset({"ratio", "all", "any", "baseline", "only_within"})
_NO_DATA: tuple[NoData, ...] = ("hold", "ok", "breach")


class TriggerEntry:
    """One entry of ``triggers``; ``playbooks`` are the components that have one."""

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
                name = read_name(self._fields["name"])
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
            action=self._action(),
            immediate=self._immediate(),
            selection=self._selection(),
            place=self._node.place,
        )
        self._problems.raise_any()
        return rule

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

    def _condition(self, key: str) -> Condition:
        node = self._fields[key]
        if node.is_mapping:
            self._refuse_later(node, "a ratio of two metrics")
        text = node.string()
        try:
            return parse_condition(text)
        except ValueError as error:
            if "increase" in text or "decrease" in text:
                mend = 'Write aggregate: change, window: 5m, when: "> 15%"'
                raise node.error(f"{text!r} is the form of an early warning", mend=mend) from None
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
                aggregate = read_choice(self._fields["aggregate"], AGGREGATES)
        if aggregate is None:
            return "last", DEFAULT_STALENESS_S
        if aggregate == "last":
            self._forbid("window", "`last` looks at the newest sample; how long it counts is its `staleness`")
            return aggregate, self._window("staleness", DEFAULT_STALENESS_S)
        self._forbid("staleness", f"`{aggregate}` looks at a `window`; only `last` has a `staleness`")
        if "window" not in self._fields:
            mend = "Add `window: 1m`"
            self._problems.add(self._node.error(f"the aggregate {aggregate!r} needs a window", mend=mend))
        return aggregate, self._window("window", 60, least=CHANGE_PARTS if aggregate == "change" else 1)

    def _window(self, key: str, default: int, *, least: int = 1) -> int:
        seconds = self._duration(key, default, least=least)
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
                return read_duration(self._fields[key], least=least)
        return default

    def _choice(self, key: str, choices: Sequence[Choice], default: Choice) -> Choice:
        if key in self._fields:
            with self._problems.collect():
                return read_choice(self._fields[key], choices)
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
            ((kind, target),) = ((kind, fields[kind]) for kind in ACTION_KINDS if kind in fields)
            is_playbook = target.string() == COMPONENT_PLACEHOLDER or read_name(target) in self._playbooks
            if kind == "rollback" and not is_playbook:
                known = ", ".join(sorted(self._playbooks)) or "none"
                raise target.error(
                    f"the trigger leads nowhere: there is no playbook {target.string()!r}",
                    mend=f"Name a component with a playbook ({known}) or {COMPONENT_PLACEHOLDER!r}",
                )
            return Action(kind, target.string())
        return ROLL_BACK

    def _refuse_later(self, node: Located, what: str) -> NoReturn:
        raise node.error(f"{what} is not supported yet", mend="Use a threshold on one metric by component")


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
        raise node.error("must be at least 1", mend="Write 8, or a duration such as 4m")
    return node.integer()
