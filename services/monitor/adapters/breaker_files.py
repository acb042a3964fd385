"""``breakers.yml``: the checks, times and fallbacks of circuit breakers, read with every mistake named.

    breakers:
      open_for: 1m
      checks: {response_time: {metric: response_time_p95_ms, when: "> 3000", for: 30s}}
      fallbacks: [{use: original_extractor, on: [response_time]}]
      components: {pdf_extraction: {open_for: 2m}}

A check is written, and read, as a trigger is; a component's own part is laid over the common one,
its checks field by field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from chassis.yaml_source import Located, Problems, load_yaml_file
from services.monitor.adapters.check_entries import CHECK_KEYS
from services.monitor.adapters.rule_fields import checked_name, read_duration, read_name
from services.monitor.adapters.rule_files import OURS, RuleReader
from services.monitor.domain.breakers.breaker import CHECKS, BreakerTerms, CheckName, Fallback
from services.monitor.domain.breakers.breaker_plan import NO_BREAKERS, BreakerPlan, BreakerPlans, Check
from services.monitor.domain.language.rules import COMPONENT_PLACEHOLDER, Rule
from services.monitor.domain.language.targets import Targets

FILE = "breakers.yml"
DEFAULT_TERMS = BreakerTerms(
    open_for=60, probe_for=30, probe_share=0.1, flap_within=300, open_at_most=900, quiet_for=1800
)
_SETTINGS = ("open_for", "probe_for", "probe_share", "damping", "checks", "fallbacks")
_OF_A_CHECK = (*CHECK_KEYS, "for", "min_samples", "no_data", "matchers")
_NOT_IN_A_CHECK = {
    "name": "a check is named by its key",
    "severity": "a breaker has no severity",
    "then": "a check leads to the breaker's fallback, not to an action",
    "immediate": "a check leads to the breaker's fallback, not to a rollback",
    "all": "a check is one condition: what is clear is its opposite",
    "any": "a check is one condition: what is clear is its opposite",
    "group_by": "a breaker is one component's",
    "keep_firing_for": "how long a breaker waits is its `probe_for`",
    "baseline": "a breaker knows no releases",
    "only_within": "a breaker knows no releases",
    "max_groups": "a breaker is one component's",
}

_EVERY = frozenset(CHECKS)
_CheckNodes = dict[CheckName, Located]


def load_breakers(path: Path) -> BreakerPlans:
    """Read the file; without it there are no breakers. Raises ConfigErrors with all that is wrong."""
    if not path.exists():
        return NO_BREAKERS
    return read_breakers(load_yaml_file(path))


def read_breakers(document: Located) -> BreakerPlans:
    """Read the document of a file. Raises ConfigErrors with all that is wrong in it."""
    problems = Problems()
    root = document.known_fields(problems, required=("breakers",))
    if "breakers" not in root:
        problems.raise_any()
    node = root["breakers"]
    fields = node.known_fields(
        problems, required=("checks", "fallbacks"), optional=(*_SETTINGS, "components")
    )
    common = _Part(node, fields, problems)
    terms = common.terms(DEFAULT_TERMS)
    nodes = common.check_nodes({})
    checks = {name: check for name in nodes if (check := common.check(name, nodes[name], None)) is not None}
    fallbacks = common.fallbacks(checks.keys() | nodes.keys(), ())
    default = BreakerPlan(terms, checks, fallbacks)
    components: dict[str, BreakerPlan | None] = {}
    if "components" in fields:
        with problems.collect():
            for name, own in fields["components"].mapping().items():
                with problems.collect():
                    components[name] = _component(name, own, default, nodes, problems)
    # A component's check repeats the mistakes of the fields that it takes over.
    problems.drop_repeated()
    problems.raise_any()
    return BreakerPlans(default, components)


def _component(
    name: str, node: Located, default: BreakerPlan, nodes: _CheckNodes, problems: Problems
) -> BreakerPlan | None:
    checked_name(name, node)
    fields = node.known_fields(problems, optional=(*_SETTINGS, "enabled"))
    if "enabled" in fields and not fields["enabled"].boolean():
        return None
    own = _Part(node, fields, problems)
    merged = own.check_nodes(nodes)
    checks: dict[CheckName, Check] = {}
    for check, check_node in merged.items():
        if check_node is nodes.get(check):
            if check in default.checks:
                checks[check] = default.checks[check]
        elif (read := own.check(check, check_node, name)) is not None:
            checks[check] = read
    return BreakerPlan(
        own.terms(default.terms), checks, own.fallbacks(merged.keys(), default.fallbacks, component=name)
    )


class _Part:
    """The settings of all components, or of one, with what they are laid over."""

    def __init__(self, node: Located, fields: Mapping[str, Located], problems: Problems) -> None:
        self._node = node
        self._fields = fields
        self._problems = problems

    def terms(self, default: BreakerTerms) -> BreakerTerms:
        """The times; each that is not given is the default's."""
        terms = default
        with self._problems.collect():
            terms = replace(
                terms,
                open_for=self._duration(self._fields, "open_for", terms.open_for),
                probe_for=self._duration(self._fields, "probe_for", terms.probe_for),
            )
        if "probe_share" in self._fields:
            with self._problems.collect():
                terms = replace(terms, probe_share=_share(self._fields["probe_share"]))
        damping: Mapping[str, Located] = {}
        if "damping" in self._fields:
            with self._problems.collect():
                damping = self._fields["damping"].known_fields(
                    self._problems, optional=("within", "at_most", "quiet_for")
                )
        with self._problems.collect():
            terms = replace(
                terms,
                flap_within=self._duration(damping, "within", terms.flap_within),
                open_at_most=self._duration(damping, "at_most", terms.open_at_most),
                quiet_for=self._duration(damping, "quiet_for", terms.quiet_for),
            )
        self._compare(terms, damping)
        return terms

    def check_nodes(self, common: _CheckNodes) -> _CheckNodes:
        """The checks as written: the common ones, with this part's laid over them by field."""
        merged = dict(common)
        if "checks" not in self._fields:
            return merged
        with self._problems.collect():
            for key, node in self._fields["checks"].mapping().items():
                name = _check_name(self._fields["checks"], key, self._problems)
                if name is None:
                    continue
                if node.content is False:
                    merged.pop(name, None)
                    continue
                with self._problems.collect():
                    merged[name] = _over(common.get(name), _of_a_check(node, self._problems))
            if not merged:
                mend = f"Write at least one of {', '.join(CHECKS)}; a component may have `enabled: false`"
                raise self._fields["checks"].error("there is no check", mend=mend)
        return merged

    def check(self, name: CheckName, node: Located, component: str | None) -> Check | None:
        """The check of its fields; None where they are wrong, which is noted."""
        with self._problems.collect():
            return Check.of(name, _rule(name, node), component)
        return None

    def fallbacks(
        self, checks: object, default: tuple[Fallback, ...], *, component: str | None = None
    ) -> tuple[Fallback, ...]:
        """The fallbacks in their order of priority; each check has to have one."""
        known = [name for name in CHECKS if name in checks]  # type: ignore[operator]
        found = list(default)
        place = self._node
        if "fallbacks" in self._fields:
            place = self._fields["fallbacks"]
            found = []
            with self._problems.collect():
                for node in place.sequence():
                    with self._problems.collect():
                        found.append(_fallback(node, found, self._problems))
        answered = frozenset[CheckName]().union(*(fallback.on for fallback in found))
        missing = [name for name in known if name not in answered]
        if missing and not self._problems.errors:
            of = "" if component is None else f" of {component}"
            mend = "Name it in an `on`, or end the list with an entry without `on`, as `- {use: reject}`"
            self._problems.add(place.error(f"no fallback{of} answers {', '.join(missing)}", mend=mend))
        return tuple(found)

    def _duration(self, fields: Mapping[str, Located], key: str, default: int) -> int:
        if key not in fields:
            return default
        return read_duration(fields[key], least=1)

    def _compare(self, terms: BreakerTerms, damping: Mapping[str, Located]) -> None:
        if terms.open_at_most < terms.open_for:
            node = damping.get("at_most") or self._fields.get("open_for") or self._node
            mend = "Let `damping: {at_most: …}` be at least `open_for`"
            self._problems.add(node.error("at_most is shorter than open_for", mend=mend))
        if terms.quiet_for <= terms.flap_within:
            node = damping.get("quiet_for") or damping.get("within") or self._node
            mend = "Let `quiet_for` be longer than `within`: it is what ends the doubling"
            self._problems.add(node.error("quiet_for is not longer than within", mend=mend))


def _of_a_check(node: Located, problems: Problems) -> Located:
    """The node with those of its keys that a check has; the others are added to ``problems``."""
    for key in node.mapping():
        if key in _NOT_IN_A_CHECK:
            line = node.key_lines.get(key, node.line)
            problems.add(replace(node, line=line).error(_NOT_IN_A_CHECK[key], mend=f"Remove `{key}`"))
    others = {key: item for key, item in node.mapping().items() if key not in _NOT_IN_A_CHECK}
    return replace(node, content=replace(node, content=others).known_fields(problems, optional=_OF_A_CHECK))


def _over(common: Located | None, own: Located) -> Located:
    """A check's fields over the common ones; each keeps the place at which it is written."""
    fields = own.mapping()
    if common is None:
        return own
    below = common.mapping()
    # The common limit is one on another value where `when` is written anew, and how long a value
    # counts has another name under another aggregate.
    dropped = {"clear"} if "when" in fields else set[str]()
    if "aggregate" in fields:
        dropped |= {"window", "staleness"}
    if "metric" in fields or "ratio" in fields:
        dropped |= {"metric", "ratio"}
    kept = {key: node for key, node in below.items() if key not in dropped}
    return replace(own, content={**kept, **fields}, key_lines={**common.key_lines, **own.key_lines})


def _rule(name: CheckName, node: Located) -> Rule:
    """Read a check as what it is, a trigger without consequences."""
    fields = node.mapping()
    if "no_data" in fields and fields["no_data"].one_of(("hold", "breach")) == "hold":
        fields = {key: value for key, value in fields.items() if key != "no_data"}
    entry = replace(node, content={"name": Located(name, node.name, node.line), **fields})
    entries = replace(node, content=(entry,))
    document = replace(node, content={OURS: entries}, key_lines={OURS: node.line})
    problems = Problems()
    reader = RuleReader(Targets(default=COMPONENT_PLACEHOLDER), (), problems)
    reader.read(document)
    problems.raise_any()
    (rule,) = reader.rules
    return rule


def _check_name(checks: Located, key: str, problems: Problems) -> CheckName | None:
    name = next((known for known in CHECKS if known == key), None)
    if name is None:
        node = Located(key, checks.name, checks.key_lines.get(key, checks.line))
        with problems.collect():
            node.one_of(CHECKS)
    return name


def _fallback(node: Located, before: Sequence[Fallback], problems: Problems) -> Fallback:
    """One of the list, after those ``before`` it. One for whatever may come, at the end, is no mistake."""
    fields = node.fields(required=("use",), optional=("on",))
    use = read_name(fields["use"])
    on = _EVERY if "on" not in fields else _answered(fields["on"], problems)
    chosen_before = frozenset[CheckName]().union(*(fallback.on for fallback in before))
    if on and on <= chosen_before and ("on" in fields or _EVERY in [fallback.on for fallback in before]):
        raise node.error(
            f"{use!r} is never chosen: those before it answer all that it does", mend="Put it before them"
        )
    return Fallback(use, on)


def _answered(node: Located, problems: Problems) -> frozenset[CheckName]:
    on: set[CheckName] = set()
    for item in node.sequence():
        with problems.collect():
            text = item.one_of(CHECKS)
            on |= {name for name in CHECKS if name == text}
    if not node.sequence():
        raise node.error(
            "names no check", mend="Write `on: [response_time]`, or leave `on` out for every check"
        )
    return frozenset(on)


def _share(node: Located) -> float:
    share = node.number()
    if not 0 < share <= 1:
        raise node.error(f"{share:g} is not a share of the calls", mend="Write more than 0 and at most 1")
    return share
