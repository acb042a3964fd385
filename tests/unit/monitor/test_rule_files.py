"""Trigger files: every field is read, and every mistake names its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from chassis.errors import ConfigError, ConfigErrors
from chassis.yaml_source import Problems, load_yaml
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.rule_files import RuleReader
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.groups import selection
from services.monitor.domain.language.phases import Terms
from services.monitor.domain.language.rules import Action, ActionKind, Baseline, Rule, rule_from_definition
from services.monitor.domain.language.targets import Target, Targets
from tests.unit.monitor.engine_log import T0, run
from tests.unit.monitor.reference import LogRecord, Point

CONFIG = Path(__file__).resolve().parents[3] / "config"
EVERYWHERE = Targets(default="{component}")


def _read(text: str, targets: Targets = EVERYWHERE) -> list[Rule]:
    problems = Problems()
    reader = RuleReader(targets, {"pdf_extraction"}, problems)
    with problems.collect():
        reader.read(load_yaml(text, name="t.yml"))
    problems.raise_any()
    return reader.rules


def _mistakes(text: str, targets: Targets = EVERYWHERE) -> list[ConfigError]:
    with pytest.raises(ConfigErrors) as caught:
        _read(text, targets)
    return list(caught.value.errors)


def test_one_bad_sample_and_then_silence_fires_no_business_trigger() -> None:
    (citations,) = _read(
        "business_impact_triggers: {x: [{metric: m, threshold: 0.1, duration: 2m, immediate_rollback: true}]}"
    )
    one_sample = LogRecord(0, T0, (Point("m", "c", T0, 0.9),))
    silence = [LogRecord(1 + at, T0 + 5 * at, clock=T0 + 5 * at) for at in range(1, 200)]
    outcomes = run([citations], [one_sample, *silence])
    # Two minutes without data are held from 30 s on; the second after them ends it.
    assert [(o.at - T0, o.after, o.kind) for o in outcomes] == [
        (0, "pending", None),
        (150, "inactive", None),
    ]


WARNING = "enhanced_monitoring: {early_warning_indicators: [\n{metric: m, "


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("action: alert_engineering_team}]}", "the key 'threshold' is missing"),
        ("threshold: 15% rise over 5 minutes, action: alert_engineering_team}]}", "is not a trend"),
        ("threshold: 15% increase over 5 days, action: alert_engineering_team}]}", "is not a trend"),
        ("threshold: 15% increase over 4 seconds, action: alert_engineering_team}]}", "at least 5 seconds"),
        ("threshold: 15% increase over 25 hours, action: alert_engineering_team}]}", "at most a day"),
        ("threshold: 15% increase over 5 minutes, action: alert_everybody}]}", "is not known here"),
        ("threshold: 0% increase over 5 minutes, action: alert_engineering_team}]}", "is any change at all"),
        ("threshold: 0.0% decrease over 5 minutes, action: alert_engineering_team}]}", "any change at all"),
        ("threshold: 100% decrease over 5 minutes, action: alert_engineering_team}]}", "more than 100%"),
        ("threshold: 150% decrease over 5 minutes, action: alert_engineering_team}]}", "more than 150%"),
    ],
)
def test_mistakes_in_early_warnings(rest: str, words: str) -> None:
    (mistake,) = _mistakes(WARNING + rest)
    assert mistake.place.endswith(":2")
    assert words in mistake.problem


@pytest.mark.parametrize("kind", ["rollback", "validate", "notify", "health_check"])
def test_every_action_is_read(kind: ActionKind) -> None:
    (rule,) = _read(HEAD + f", then: {{{kind}: pdf_extraction}}}}")
    assert rule.action == Action(kind, "pdf_extraction")
    assert rule_from_definition(rule.definition()) == rule


@pytest.mark.parametrize("text", ["{breaching: 48, of: 60}", "{breaching: 48s, of: 1m}"])
def test_a_quorum_is_read(text: str) -> None:
    (rule,) = _read(HEAD + f", for: {text}}}")
    assert (rule.terms.quorum, rule.terms.lasting) == (48, 60)
    assert rule.condition == "> 1 for 48s of 1m"
    assert rule_from_definition(rule.definition()) == rule


def test_a_ratio_and_several_conditions_are_read() -> None:
    (rule,) = _read("""
        triggers:
          - name: worse
            any:
              - {ratio: {of: errors_total, to: requests_total}, aggregate: rate, window: 1m, when: "> 5%"}
              - {metric: ms, aggregate: p99, window: 5m, when: "> 3000", clear: "< 2000"}
              - {metric: up, staleness: 30s, when: "== 0"}
            for: 2m
    """)
    assert rule.condition == (
        "rate over 1m of errors_total / requests_total > 0.05 or p99 over 5m of ms > 3000 or up == 0 for 2m"
    )
    assert rule.metrics == {"errors_total", "requests_total", "ms", "up"}
    assert rule_from_definition(rule.definition()) == rule


def test_a_baseline_and_the_time_after_a_release_are_read() -> None:
    (rule,) = _read("""
        triggers:
          - name: slower
            metric: ms
            aggregate: p95
            window: 5m
            baseline: {aggregate: p50, window: 30m, before: release}
            when: "> 50%"
            for: 2m
            only_within: 24h
            max_groups: 50
    """)
    assert (rule.baseline, rule.only_within, rule.max_groups) == (Baseline("p50", 1_800), 86_400, 50)
    assert rule.condition == (
        "p95 over 5m against p50 over 30m before the release > 0.5 for 2m within 1d of a release"
    )
    assert rule_from_definition(rule.definition()) == rule


def test_a_ratio_and_each_of_several_conditions_may_have_a_baseline() -> None:
    (rule,) = _read("""
        triggers:
          - name: worse
            any:
              - {ratio: {of: errors, to: requests}, aggregate: rate, window: 5m, when: "> 50%", baseline: {}}
              - {metric: ms, aggregate: p95, window: 5m, when: "> 25%", baseline: {window: 30m}}
              - {metric: up, when: "== 0"}
    """)
    assert [check.baseline for check in rule.checks] == [
        Baseline("p50", 3_600), Baseline("p95", 1_800), None
    ]  # fmt: skip
    assert rule.condition == (
        "rate over 5m of errors / requests against its p50 over 1h before the release > 0.5 or "
        "p95 over 5m of ms against its p95 over 30m before the release > 0.25 or up == 0"
    )
    assert rule.looks_at_releases
    assert rule_from_definition(rule.definition()) == rule


@pytest.mark.parametrize(
    ("own", "compared"),
    [("last", "p50"), ("avg, window: 1m", "avg"), ("sum, window: 1m", "p50"), ("rate, window: 1m", "p50")],
)
def test_a_baseline_is_of_the_last_hour_and_by_the_same_aggregate(own: str, compared: str) -> None:
    (rule,) = _read(HEAD + f", aggregate: {own}, baseline: {{}}}}")
    assert rule.baseline == Baseline(compared, 3_600)  # type: ignore[arg-type]


def test_a_definition_that_uses_none_of_it_has_the_hash_that_it_always_had() -> None:
    (rule,) = _read(HEAD + "}")
    assert not rule.definition().keys() & {"only_within", "max_groups"}
    assert "baseline" not in rule.definition()["checks"][0]
    assert rule.hash == "c7cf11a39b4e8aa7"


def test_a_percentage_is_a_hundredth() -> None:
    (rule,) = _read("triggers: [{name: a, metric: m, when: '> 7 %', clear: '< 5%'}]")
    assert (rule.when, rule.clear) == (Condition(">", 0.07), Condition("<", 0.05))


def test_every_field_is_read() -> None:
    (rule,) = _read("""
        triggers:
          - name: slow
            metric: ms
            aggregate: avg
            window: 1m
            when: "> 3000"
            clear: "< 2500"
            for: 5m
            keep_firing_for: 30s
            min_samples: 4
            no_data: breach
            matchers: ['route="/pay"', zone != east]
            group_by: [component, zone, host]
            severity: low
            then: {rollback: pdf_extraction}
            immediate: true
    """)
    assert rule == Rule(
        name="slow",
        metric="ms",
        aggregate="avg",
        window=60,
        when=Condition(">", 3_000),
        clear=Condition("<", 2_500),
        terms=Terms(300, 30, 4, "breach"),
        severity="low",
        action=Action("rollback", "pdf_extraction"),
        immediate=True,
        selection=selection(['route = "/pay"', 'zone!="east"'], ["zone", "host"]),
    )
    assert rule.condition == "avg over 1m > 3000 for 5m"
    assert rule_from_definition(rule.definition()) == rule


HEAD = "triggers:\n  - {name: a, metric: m, when: '> 1'"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (HEAD + ",\n     forr: 5m}", 3, "unknown key 'forr'"),
        ("triggers:\n  - {metric: m, when: '> 1'}", 2, "the key 'name' is missing"),
        (HEAD + ",\n     for: 5 minutes}", 3, "not a duration"),
        (HEAD + ",\n     for: 300}", 3, "300 has no unit"),
        (HEAD + ",\n     staleness: 0s}", 3, "0s is shorter than 1s"),
        ("triggers:\n  - {name: a, metric: m,\n     when: '>> 1'}", 3, "not an operator"),
        ("triggers:\n  - {name: a, metric: m,\n     when: 5}", 3, "where a text is needed"),
        ("triggers:\n  - {name: a, metric: m,\n     when: 15% increase over 5m}", 3, "an early warning"),
        ("triggers:\n  - {name: a, metric: m,\n     when: {of: x, to: y}}", 3, "a text is needed"),
        ("triggers:\n  - {name: a, when: '> 1',\n     ratio: {of: x}}", 3, "the key 'to' is missing"),
        ("triggers:\n  - {name: a, when: '> 1',\n     ratio: {of: x, to: x}}", 3, "to itself"),
        ("triggers:\n  - {name: a, when: '> 1'}", 2, "a metric or a ratio is needed"),
        (HEAD + ", ratio: {of: x, to: y}}", 2, "one of them"),
        ("triggers:\n  - {name: a,\n     all: [{metric: m, when: '> 1'}]}", 3, "1 conditions under `all`"),
        ("triggers:\n  - {name: a,\n     any: [{metric: m, when: '> 1'}, {when: '> 1'}]}", 3, "a metric or"),
        (
            "triggers:\n  - {name: a,\n"
            "     any: [{metric: m, when: '> 1', for: 5m}, {metric: n, when: '> 1'}]}",
            3,
            "unknown key 'for'",
        ),
        (
            "triggers:\n  - {name: a, all: [{metric: m, when: '> 1'}, {metric: n, when: '> 1'}],\n"
            "     window: 5m}",
            3,
            "`window` stands beside `all`",
        ),
        (
            "triggers:\n  - {name: a, all: [{metric: m, when: '> 1'}, {metric: n, when: '> 1'}],\n"
            "     any: []}",
            3,
            "`all` and `any`",
        ),
        (HEAD + ",\n     baseline: 50%}", 3, "a mapping is needed"),
        (HEAD + ",\n     baseline: {of: m}}", 3, "unknown key 'of'"),
        (HEAD + ",\n     baseline: {aggregate: rate}}", 3, "'rate' is not known here"),
        (HEAD + ",\n     baseline: {window: 25h}}", 3, "a day at most"),
        (HEAD + ",\n     baseline: {before: deploy}}", 3, "'deploy' is not known here"),
        (HEAD + ", aggregate: change, window: 1m,\n     baseline: {}}", 3, "relative already"),
        (
            "triggers:\n  - {name: a, all: [{metric: m, when: '> 1'}, {metric: n, when: '> 1',\n"
            "     baseline: {window: 0s}}]}",
            3,
            "shorter than 1s",
        ),
        (
            "triggers:\n  - {name: a, all: [{metric: m, when: '> 1'}, {metric: n, when: '> 1'}],\n"
            "     baseline: {}}",
            3,
            "stands beside `all`, not in it",
        ),
        (HEAD + ",\n     only_within: 24}", 3, "24 has no unit"),
        (HEAD + ",\n     only_within: 0s}", 3, "shorter than 1s"),
        (HEAD + ",\n     max_groups: 0}", 3, "`max_groups` must be at least 1"),
        ("triggers:\n  - {name: 'a b', metric: m, when: '> 1'}", 2, "not a name"),
        (HEAD + ",\n     clear: '> 0'}", 3, "overlaps"),
        (HEAD + ",\n     aggregate: variance, window: 1m}", 3, "'variance' is not known here"),
        (HEAD + ",\n     aggregate: change, window: 4s}", 3, "shorter than 5s"),
        (HEAD + ",\n     aggregate: mean, window: 1m}", 3, "'mean' is not known here"),
        (HEAD + ", aggregate: avg}", 2, "needs a window"),
        (HEAD + ",\n     window: 1m}", 3, "staleness"),
        (HEAD + ", aggregate: sum,\n     window: 25h}", 3, "a day at most"),
        (HEAD + ",\n     staleness: 25h}", 3, "a day at most"),
        (HEAD + ",\n     min_samples: 0}", 3, "at least 1"),
        (HEAD + ",\n     no_data: maybe}", 3, "'maybe' is not known"),
        (HEAD + ",\n     severity: dire}", 3, "'dire' is not known"),
        (HEAD + ",\n     immediate: 'yes'}", 3, "true or false"),
        (HEAD + ",\n     group_by: [host]}", 3, "must contain `component`"),
        (HEAD + ",\n     group_by: [component, host, host]}", 3, "names a label twice"),
        (HEAD + ",\n     for: {breaching: 8}}", 3, "the key 'of' is missing"),
        (HEAD + ",\n     for: {breaching: 11, of: 10}}", 3, "11 breaching of 10 evaluations cannot be"),
        (HEAD + ",\n     for: {breaching: 0, of: 10}}", 3, "at least 1"),
        (HEAD + ",\n     for: {breaching: 1m, of: 61m}}", 3, "60 breaching of 3660 evaluations"),
        (HEAD + ",\n     matchers: [zone]}", 3, "is no label, sign"),
        (HEAD + ",\n     matchers: ['zone=~(']}", 3, "is no pattern"),
        (HEAD + ",\n     matchers: zone=east}", 3, "a list"),
        (HEAD + ",\n     labels: {a: b}}", 3, "unknown key 'labels'"),
        (HEAD + ",\n     then: {page: team}}", 3, "unknown key 'page'"),
        (HEAD + ",\n     then: {}}", 3, "one action is needed"),
        (HEAD + ",\n     then: {notify: team, validate: x}}", 3, "one action is needed"),
        (HEAD + ",\n     then: {rollback: nowhere}}", 3, "there is no playbook 'nowhere'"),
        ("triggers: [{name: a, metric: m, when: '> 1'}, {name: a, metric: n, when: '> 2'}]", 1, "is taken"),
        (HEAD + ",\n     min_samples: 99999999}", 3, "at most 1000000"),
        (HEAD + ",\n     for: " + "9" * 5_000 + "s}", 3, "too long for a duration"),
        (HEAD + ",\n     for: " + "9" * 50 + "s}", 3, "longer than a year"),
        ("triggers:\n  - {name: a, metric: m,\n     when: '> " + "9" * 400 + "'}", 3, "too large a number"),
        ("triggers:\n  - {name: a, metric: m, clear: '< 2000',\n     when: '=> 3000'}", 3, "not an operator"),
        ("triggers:\n  - {name: a, metric: m, when: '> 1',\n     min_samples: " + "9" * 400 + "}", 3, "400"),
        ("business_impact_triggers:\n  x:\n    - metric: m\n      threshold: " + "9" * 400, 4, "of 400"),
        ("business_impact_triggers:\n  x:\n    - metric: m\n      threshold: 0x" + "f" * 9_000, 4, "of 9002"),
        ("business_impact_triggers:\n  x:\n    - metric: m\n      threshold: " + "9" * 5_000, 4, "cannot be"),
        (HEAD + "}\n  - {name: a, metric: n, when: '> 2'}", 3, "the name 'a' is taken (at t.yml:2)"),
        ("trigers: []", 1, "unknown key 'trigers'"),
        ("a: &a [x]\nb: [*a]", 2, "alias"),
        ("business_impact_triggers:\n  x:\n    - {metric: m, threshold: '1', duration: 5m}", 3, "a number"),
        ("business_impact_triggers:\n  x:\n    - {metric: m, threshold: 1, duration: soon}", 3, "duration"),
        ("business_impact_triggers:\n  x:\n    - {metric: m, threshold: 1, duration: 1m, o: }", 3, "unknown"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_file_line_and_mend(text: str, line: int, words: str) -> None:
    (mistake,) = _mistakes(text)
    assert words in mistake.problem
    assert mistake.place == f"t.yml:{line}"
    assert mistake.mend


def test_all_mistakes_are_named_in_one_reading() -> None:
    text = (
        "triggers:\n  - {name: a, metric: m, when: x, for: y}\n  - {name: b, metric: m, when: '> 1', z: 1}\n"
    )
    assert sorted(mistake.place for mistake in _mistakes(text)) == ["t.yml:2", "t.yml:2", "t.yml:3"]


def test_a_taken_name_and_an_unknown_key_hide_no_other_mistake() -> None:
    text = (
        "trigger: []\n"
        "triggers:\n"
        "  - {name: a, metric: m, when: x}\n"
        "  - {name: a, metric: m, when: '> 1'}\n"
        "  - {name: a, metric: m, when: y}\n"
        "business_impact_triggers: []\n"
        "enhanced_monitoring: {early_warnings: [], early_warning_indicators: [{metric: w}]}\n"
    )
    found = sorted((int(each.place.rsplit(":", 1)[1]), each.problem) for each in _mistakes(text))
    assert [line for line, _ in found] == [1, 3, 4, 5, 5, 6, 7, 7, 7]
    assert [problem for _, problem in found if "taken" in problem] == [
        "the name 'a' is taken (at t.yml:3)"
    ] * 2


def test_later_files_are_read_though_the_first_have_mistakes(tmp_path: Path) -> None:
    directory = _directory(tmp_path, 'default: "{component}"', "triggers: [{name: a, metric: m, when: x}]")
    (directory / "rollback" / "compound.yml").write_text(
        "compound_triggers:\n"
        "  - {name: a, at_least: 2 components, window: 5m}\n"
        "  - {name: b, at_least: 2 components, window: 5m, members: {triggers: [a]}}\n"
        "  - {name: c, at_least: 2 components, window: 5m, members: {triggers: [gone]}}\n"
    )
    (directory / "monitoring").mkdir()
    (directory / "monitoring" / "m.yml").write_text(
        "enhanced_monitoring:\n  predictive_alerts:\n    - {model: m, x: 1}\n"
    )
    (directory / "breakers.yml").write_text("breakers: []\n")
    with pytest.raises(ConfigErrors) as caught:
        load_config(directory)
    text = str(caught.value)
    for words in (
        "triggers.yml:1: 'x'",
        "compound.yml:2: the name 'a' is taken",
        "compound.yml:4: ",
        "m.yml:3: unknown key 'x'",
        "breakers.yml:1: a list where a mapping is needed",
    ):
        assert words in text
    assert "compound.yml:3" not in text, "a trigger with a mistake is there all the same"
    places = [str(error) for error in caught.value.errors]
    assert len(places) == len(set(places))


def test_a_file_of_another_service_that_is_named_is_passed_over(tmp_path: Path) -> None:
    directory = _directory(tmp_path, 'default: "{component}"', HEAD + "}")
    plan = CONFIG / "rollback" / "communication_plan.yml"
    named = [directory / "rollback" / "triggers.yml", plan]
    assert len(load_config(directory, named).rules) == 1
    with pytest.raises(ConfigError, match="no triggers"):
        load_config(directory, [plan])


def test_an_unknown_playbook_is_named_beside_other_mistakes() -> None:
    mistakes = _mistakes("triggers: [{name: a, metric: m, when: x, then: {rollback: gone}}]")
    assert len(mistakes) == 2
    assert any("there is no playbook 'gone'" in mistake.problem for mistake in mistakes)


def test_two_business_entries_of_one_metric_are_told_what_to_do() -> None:
    entry = "[{metric: m, threshold: 1, duration: 1m}]"
    (mistake,) = _mistakes(f"business_impact_triggers:\n  first: {entry}\n  second: {entry}")
    assert mistake.place == "t.yml:3"
    assert "'second'" in mistake.mend
    assert "`triggers`" in mistake.mend


def test_a_file_is_named_once(tmp_path: Path) -> None:
    directory = _directory(tmp_path, 'default: "{component}"', HEAD + "}")
    file = directory / "rollback" / "triggers.yml"
    with pytest.raises(ConfigErrors, match="is named twice"):
        load_config(directory, [file, directory / "rollback" / ".." / "rollback" / "triggers.yml"])


def test_a_missing_directory_is_named_with_the_setting_that_mends_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "gone")
    assert caught.value.place == str(tmp_path / "gone")
    assert "BACKOUT_CONFIG_DIR" in caught.value.mend


def test_a_trigger_without_a_target_leads_nowhere() -> None:
    (mistake,) = _mistakes(HEAD + "}", Targets())
    assert "leads nowhere" in mistake.problem
    by_metric = Targets((Target("m", None, "pdf_extraction"),))
    assert _read(HEAD + "}", by_metric)[0].name == "a"
    (mistake,) = _mistakes(HEAD + "}", Targets((Target("other", None, "pdf_extraction"),)))
    assert "leads nowhere" in mistake.problem


def test_the_first_fitting_target_counts() -> None:
    targets = Targets(
        (Target("m", "x", "first"), Target(None, "x", "second"), Target("m", None, "third")), "{component}"
    )
    (rule,) = _read(HEAD + "}")
    assert [targets.target_of(rule, component) for component in ("x", "y")] == ["first", "third"]
    (named,) = _read(HEAD + ", then: {rollback: pdf_extraction}}")
    assert targets.target_of(named, "x") == "pdf_extraction"
    (other,) = _read("triggers: [{name: a, metric: other, when: '> 1'}]")
    assert [targets.target_of(other, component) for component in ("x", "y")] == ["second", "y"]


def _directory(path: Path, targets: str, triggers: str) -> Path:
    (path / "rollback").mkdir()
    (path / "playbooks").mkdir()
    (path / "playbooks" / "pdf_extraction.yml").write_text("{}")
    (path / "targets.yml").write_text(targets)
    (path / "rollback" / "triggers.yml").write_text(triggers)
    return path


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ("targets:\n  - {component: x, playbook: gone}", "targets.yml:2: there is no playbook 'gone'"),
        ("targets:\n  - {playbook: pdf_extraction}", "targets.yml:2: fits everything"),
        ("default: gone", "targets.yml:1: there is no playbook 'gone'"),
        ("defaults: x", "targets.yml:1: unknown key 'defaults'"),
    ],
)
def test_mistakes_in_targets(tmp_path: Path, targets: str, words: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_config(_directory(tmp_path, targets, HEAD + "}"))
    assert words in str(caught.value)
    assert len(caught.value.errors) == 1


def test_no_triggers_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no triggers"):
        load_config(_directory(tmp_path, 'default: "{component}"', "triggers: []"))


def test_a_misspelt_file_in_the_directory_is_not_passed_over(tmp_path: Path) -> None:
    directory = _directory(tmp_path, 'default: "{component}"', HEAD + "}")
    (directory / "rollback" / "more.yml").write_text("trigger: []\n")
    with pytest.raises(ConfigErrors, match="unknown key 'trigger'"):
        load_config(directory)


def test_predictive_alerts_are_checked_where_the_triggers_are(tmp_path: Path) -> None:
    assert [alert.model for alert in load_config(CONFIG).predictive] == [
        "response_time_predictor",
        "error_rate_predictor",
    ]
    directory = _directory(tmp_path, 'default: "{component}"', HEAD + "}")
    (directory / "monitoring").mkdir()
    (directory / "monitoring" / "predictions.yml").write_text(
        "enhanced_monitoring:\n  predictive_alerts:\n    - {model: m, prediction_window: 30, x: 1}\n"
    )
    with pytest.raises(ConfigErrors, match=r"predictions.yml:3"):
        load_config(directory)
