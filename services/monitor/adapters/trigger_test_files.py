"""Files with tests of triggers, read with every mistake named.

rule_files: [../triggers.yml]            # relative to this file
tests:
  - name: five minutes above 3 s
    interval: 15s
    input_series:
      - {metric: response_time_p95_ms, component: api, values: "2000x10 3500x25 _x5"}
    releases:
      - {component: api, at: 2m, version: "42"}
    reports:
      - {kind: data_corruption, component: store, at: 5m}
    expect:
      - {at: 7m30s, trigger: response_time_p95, component: api, phase: firing, value: 3500}
    expect_transitions:
      - {at: 2m30s, trigger: response_time_p95, component: api, to: pending}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

from chassis.yaml_source import Located, Problems, load_yaml_file
from schemas.metrics import Sample, sample_problem
from services.monitor.adapters.config_directory import MonitorConfig, load_config
from services.monitor.adapters.rule_fields import read_duration
from services.monitor.adapters.trigger_test_subjects import Subjects, known_component
from services.monitor.domain.compound.definitions import REPORT_KINDS, CompoundRule
from services.monitor.domain.compound.outcomes import CompoundReason
from services.monitor.domain.language.phases import Phase, Reason
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.trials.series_notation import parse_series
from services.monitor.domain.trials.trigger_tests import (
    ExpectedPhase,
    ExpectedTransition,
    InputSeries,
    ReleaseAt,
    ReportAt,
    TriggerTest,
)

PHASES: tuple[Phase, ...] = get_args(Phase)
REASONS: tuple[Reason, ...] = get_args(Reason)
COMPOUND_REASONS: tuple[CompoundReason, ...] = get_args(CompoundReason)
DEFAULT_INTERVAL_S = 15
_NOTATION = 'Write it as in values: "2000x10 3500x25 _x5 3000+50x4"'

Choice = TypeVar("Choice", bound=str)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class TestFile:
    """The tests of one file, and the triggers that they are about."""

    path: Path
    rules: tuple[Rule, ...]
    tests: tuple[TriggerTest, ...]
    compounds: tuple[CompoundRule, ...] = ()


def load_tests(path: Path, config_dir: Path) -> TestFile:
    """Read a file of tests with its trigger files; targets and playbooks are those of
    ``config_dir``. Raises ConfigError or ConfigErrors with everything that is wrong."""
    document = load_yaml_file(path)
    fields = document.fields(required=("rule_files", "tests"))
    files = [path.parent / node.string() for node in fields["rule_files"].sequence()]
    if not files:
        raise fields["rule_files"].error("names no file", mend="Name the trigger files to test")
    config = load_config(config_dir, files)
    problems = Problems()
    tests: list[TriggerTest] = []
    for node in fields["tests"].sequence():
        with problems.collect():
            tests.append(_Reader(node, config).test())
    problems.raise_any()
    if not tests:
        raise fields["tests"].error("there is no test", mend="Write at least one")
    return TestFile(path, config.rules, tuple(tests), config.compounds)


class _Reader:
    """Reads one test."""

    def __init__(self, node: Located, config: MonitorConfig) -> None:
        self._node = node
        self._config = config
        self._problems = Problems()
        self._components: tuple[str, ...] = ()
        self._subjects = Subjects(config, ())

    def test(self) -> TriggerTest:
        fields = self._node.fields(
            required=("name",),
            optional=(
                "input_series",
                "interval",
                "until",
                "releases",
                "reports",
                "expect",
                "expect_transitions",
            ),
        )
        name = fields["name"].string()
        interval, until = DEFAULT_INTERVAL_S, 0
        with self._problems.collect():
            if "interval" in fields:
                interval = _duration(fields["interval"])
                if interval == 0:
                    raise fields["interval"].error("is no time at all", mend="Write at least 1s")
        with self._problems.collect():
            until = _duration(fields["until"]) if "until" in fields else 0
        series = self._each(fields["input_series"], self._series) if "input_series" in fields else []
        self._components = tuple({each.component: None for each in series})
        self._subjects = Subjects(self._config, series)
        releases = self._each(fields["releases"], self._release) if "releases" in fields else []
        reports = self._each(fields["reports"], self._report) if "reports" in fields else []
        if "input_series" not in fields and "reports" not in fields:
            self._problems.add(
                self._node.error("has neither samples nor reports", mend="Add `input_series:` or `reports:`")
            )
        phases: list[ExpectedPhase] = []
        if "expect" in fields:
            phases = self._each(fields["expect"], self._phase)
        transitions: list[ExpectedTransition] | None = None
        if "expect_transitions" in fields:
            transitions = self._each(fields["expect_transitions"], self._transition)
        expects_none = "expect" not in fields or fields["expect"].content == ()
        if expects_none and "expect_transitions" not in fields:
            self._problems.add(self._node.error("expects nothing", mend="Add `expect:` with a phase"))
        self._problems.raise_any()
        ends = [len(each.values) * interval for each in series]
        asked = [each.at for each in (*releases, *reports, *phases, *(transitions or ()))]
        return TriggerTest(
            name=name,
            place=self._node.place,
            interval=interval,
            until=max(until, *ends, *asked),
            series=series,
            phases=phases,
            transitions=transitions,
            releases=releases,
            reports=reports,
        )

    def _each(self, node: Located, read: Callable[[Located], Item]) -> list[Item]:
        found: list[Item] = []
        with self._problems.collect():
            for item in node.sequence():
                with self._problems.collect():
                    found.append(read(item))
        return found

    def _series(self, node: Located) -> InputSeries:
        fields = node.fields(required=("metric", "component", "values"), optional=("labels",))
        metric, component = fields["metric"].string(), fields["component"].string()
        _check_name(fields["component"], metric, component)
        labels = None
        if "labels" in fields:
            labels = {key: value.string() for key, value in fields["labels"].mapping().items()}
        values: list[float | None] = []
        # The series is there, whatever is wrong with its values: what names its component is right.
        with self._problems.collect():
            values = _values(fields["values"])
        return InputSeries(metric, component, values, labels)

    def _release(self, node: Located) -> ReleaseAt:
        fields = node.fields(required=("component", "at"), optional=("version",))
        version = fields["version"].string() if "version" in fields else None
        return ReleaseAt(self._component(fields["component"]), _duration(fields["at"]), version)

    def _report(self, node: Located) -> ReportAt:
        fields = node.fields(required=("kind", "component", "at"), optional=("by", "reason"))
        component = fields["component"].string()
        _check_name(fields["component"], "m", component)
        return ReportAt(
            kind=_choice(fields["kind"], REPORT_KINDS),
            component=component,
            at=_duration(fields["at"]),
            reported_by=fields["by"].string() if "by" in fields else "test",
            reason=fields["reason"].string() if "reason" in fields else "written in a test",
        )

    def _phase(self, node: Located) -> ExpectedPhase:
        fields = node.fields(
            required=("at", "trigger", "phase"), optional=("component", "labels", "value", "values")
        )
        subject = self._subjects.named(fields["trigger"])
        return ExpectedPhase(
            at=_duration(fields["at"]),
            trigger=subject.name,
            of=self._subjects.group(node, fields, subject),
            phase=self._subjects.phase(fields["phase"], subject, PHASES),
            place=node.place,
            values=_expected_values(fields, subject),
        )

    def _transition(self, node: Located) -> ExpectedTransition:
        fields = node.fields(
            required=("at", "trigger", "to"), optional=("component", "labels", "from", "reason")
        )
        subject = self._subjects.named(fields["trigger"])
        reasons = REASONS if isinstance(subject, Rule) else COMPOUND_REASONS
        return ExpectedTransition(
            at=_duration(fields["at"]),
            trigger=subject.name,
            of=self._subjects.group(node, fields, subject),
            after=self._subjects.phase(fields["to"], subject, PHASES),
            place=node.place,
            before=self._subjects.phase(fields["from"], subject, PHASES) if "from" in fields else None,
            reason=fields["reason"].one_of(reasons) if "reason" in fields else None,
        )

    def _component(self, node: Located) -> str:
        return known_component(node, self._components)


def _expected_values(fields: Mapping[str, Located], subject: Rule | CompoundRule) -> tuple[float | None, ...]:
    """``value`` is that of the first condition, ``values`` has one for each."""
    if "value" in fields and "values" in fields:
        raise fields["values"].error("stands beside `value`", mend="Leave one of them out")
    if "values" not in fields:
        return (_number(fields["value"]),) if "value" in fields else ()
    nodes = fields["values"].sequence()
    count = len(subject.checks) if isinstance(subject, Rule) else 1
    if len(nodes) != count:
        raise fields["values"].error(
            f"{subject.name} has {count} condition{'s' if count > 1 else ''}, not {len(nodes)}",
            mend="Write one value for each, in their order",
        )
    return tuple(map(_number, nodes))


def _number(node: Located) -> float | None:
    return None if node.content is None else node.number()


def _check_name(node: Located, metric: str, component: str) -> None:
    problem = sample_problem(Sample(metric, component, 0.0, 0.0))
    if problem is not None:
        raise node.error(problem.error, mend="Name it as the samples do")


def _values(node: Located) -> list[float | None]:
    text = node.content
    if isinstance(text, int | float) and not isinstance(text, bool):
        return [node.number()]
    try:
        return parse_series(node.string())
    except ValueError as error:
        raise node.error(str(error), mend=_NOTATION) from None


def _duration(node: Located) -> int:
    if node.content == 0 and not isinstance(node.content, bool):
        return 0
    return read_duration(node, least=0)


def _choice(node: Located, known: Sequence[Choice]) -> Choice:
    text = node.one_of(known)
    return next(choice for choice in known if choice == text)
