"""``breakers.yml``: what ships is read as documented, and every mistake is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from chassis.errors import ConfigErrors
from chassis.yaml_source import load_yaml
from services.monitor.adapters.breaker_files import DEFAULT_TERMS, FILE, load_breakers, read_breakers
from services.monitor.adapters.config_directory import load_config
from services.monitor.domain.breakers.breaker_plan import NO_BREAKERS, BreakerPlans, feeds_breaker

CONFIG = Path(__file__).parents[3] / "config"
CHECK = "response_time: {metric: ms, when: '> 10', for: 5s}"


def read(text: str) -> BreakerPlans:
    return read_breakers(load_yaml(text, name=FILE))


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        read(text)
    return [str(error) for error in raised.value.errors]


class TestWhatShips:
    PLANS = load_breakers(CONFIG / FILE)

    def test_the_four_checks_with_the_plans_thresholds(self) -> None:
        assert self.PLANS.default is not None
        conditions = {
            name: f"{check.fails.metric} {check.fails.condition}"
            for name, check in self.PLANS.default.checks.items()
        }
        assert conditions == {
            "response_time": "response_time_p95_ms > 3000 for 30s",
            "error_rate": "error_rate > 0.05 for 20s",
            "accuracy": "accuracy_score < 0.9 for 20s",
            "consensus": "consensus_failure_rate > 0.2 for 20s",
        }
        assert self.PLANS.default.terms == DEFAULT_TERMS

    def test_the_monitor_reads_it_beside_the_triggers(self) -> None:
        config = load_config(CONFIG)
        assert config.breakers == self.PLANS
        assert not any(feeds_breaker(rule) for rule in config.rules)

    def test_the_sample_system_has_its_fallback(self) -> None:
        plan = self.PLANS.of("pdf_extraction")
        assert plan is not None
        assert [fallback.use for fallback in plan.fallbacks] == ["original_extractor"]
        assert plan.checks == self.PLANS.default.checks if self.PLANS.default else False


def test_without_a_file_there_are_no_breakers(tmp_path: Path) -> None:
    assert load_breakers(tmp_path / FILE) is NO_BREAKERS
    assert not NO_BREAKERS.are_configured


def test_a_component_lays_its_own_fields_over_the_common_ones() -> None:
    plans = read(f"""\
breakers:
  open_for: 2m
  checks:
    {CHECK}
    accuracy: {{metric: score, when: "< 0.9", clear: "> 0.95", staleness: 20s}}
  fallbacks: [{{use: a, on: [accuracy]}}, {{use: b}}]
  components:
    strict: {{probe_for: 1m, checks: {{accuracy: {{when: "< 0.99"}}}}}}
    fast: {{checks: {{accuracy: false}}, fallbacks: [{{use: c}}], damping: {{at_most: 1h}}}}
    none: {{enabled: false}}
""")
    strict, fast = plans.of("strict"), plans.of("fast")
    assert strict is not None
    assert fast is not None
    assert (strict.terms.open_for, strict.terms.probe_for) == (120, 60)
    assert strict.checks["response_time"].fails.name == "breaker/response_time"
    accuracy = strict.checks["accuracy"].fails
    assert (accuracy.name, accuracy.metric, accuracy.window) == ("breaker/accuracy/strict", "score", 20)
    assert str(accuracy.when) == "< 0.99"
    assert accuracy.clear is None
    assert str(strict.checks["accuracy"].clear.when) == ">= 0.99"
    assert set(fast.checks) == {"response_time"}
    assert fast.terms.open_at_most == 3600
    assert plans.of("none") is None
    assert plans.of("anything") == plans.default
    assert len(plans.rules) == 6


def test_a_component_may_watch_a_ratio_instead_of_a_metric() -> None:
    plans = read("""\
breakers:
  checks: {error_rate: {metric: error_rate, when: "> 5%"}}
  fallbacks: [{use: a}]
  components:
    counted:
      checks: {error_rate: {ratio: {of: errors_total, to: requests_total}, aggregate: rate, window: 1m}}
""")
    counted = plans.of("counted")
    assert counted is not None
    check = counted.checks["error_rate"]
    assert check.fails.condition == "rate over 1m > 0.05"
    assert check.fails.metrics == check.clear.metrics == {"errors_total", "requests_total"}
    assert str(check.clear.when) == "<= 0.05"


@pytest.mark.parametrize(
    ("when", "clear"),
    [("> 1", "<= 1"), (">= 1", "< 1"), ("< 1", ">= 1"), ("<= 1", "> 1"), ("== 1", "!= 1"), ("!= 1", "== 1")],
)
def test_clear_is_the_opposite_unless_it_is_given(when: str, clear: str) -> None:
    plans = read(
        f"breakers: {{checks: {{accuracy: {{metric: m, when: '{when}'}}}}, fallbacks: [{{use: a}}]}}"
    )
    assert [str(rule.when) for rule in plans.rules] == [when, clear]


@pytest.mark.parametrize(
    ("no_data", "engine"), [("", "ok"), (", no_data: hold", "ok"), (", no_data: breach", "breach")]
)
def test_what_silence_is(no_data: str, engine: str) -> None:
    plans = read(
        f"breakers: {{checks: {{accuracy: {{metric: m, when: '< 1'{no_data}}}}}, fallbacks: [{{use: a}}]}}"
    )
    assert [rule.terms.no_data for rule in plans.rules] == [engine, "ok"]


MISTAKES = f"""\
breakers:
  open_for: 20
  probe_share: 2
  damping: {{within: 2h, quiet_for: 1h}}
  checks:
    {CHECK}
    latency: {{metric: ms, when: "> 10"}}
    accuracy: {{metric: score, when: "about 3", for: 5}}
    error_rate: {{metric: m, when: "> 1", then: {{rollback: x}}}}
  fallbacks:
    - {{use: "not a name", on: [response_time, speed]}}
  components:
    c: {{enable: false}}
"""


def test_every_mistake_is_named_with_its_line_and_mend() -> None:
    found = mistakes(MISTAKES)
    assert all(text.startswith("breakers.yml:") for text in found)
    lines = {int(text.split(":")[1]) for text in found}
    assert lines == {2, 3, 4, 7, 8, 9, 11, 13}
    together = "\n".join(found)
    for words in (
        "breakers.yml:2: 20 has no unit. Write whole seconds",
        "breakers.yml:3: 2 is not a share of the calls",
        "quiet_for is not longer than within",
        "'latency' is not known here",
        "a check leads to the breaker's fallback, not to an action. Remove `then`",
        "'not a name' is not a name",
        "unknown key 'enable'. Did you mean 'enabled'?",
    ):
        assert words in together
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"breakers: {{checks: {{{CHECK}}}}}", "the key 'fallbacks' is missing"),
        (f"breakers: {{checks: {{{CHECK}}}, fallbacks: [{{use: a, on: [accuracy]}}]}}",
         "no fallback answers response_time"),
        (f"breakers: {{checks: {{{CHECK}}}, fallbacks: [{{use: a}}], open_for: 1h}}",
         "at_most is shorter than open_for"),
        ("breakers: {checks: {accuracy: false}, fallbacks: [{use: a}]}", "there is no check"),
        (f"breakers: {{checks: {{{CHECK}}}, fallbacks: [{{use: a}}], open_for: 0s}}", "is shorter than 1s"),
        (f"breakers: {{checks: {{{CHECK}}}, fallbacks: [{{use: a}}], components: {{a b: {{}}}}}}",
         "'a b' is not a name"),
        ("breakers: {checks: {accuracy: {metric: m, when: '< 1', no_data: ok}}, fallbacks: [{use: a}]}",
         "'ok' is not known here. Known here: hold, breach"),
        ("breakers: {checks: {accuracy: {any: [{metric: m, when: '< 1'}]}}, fallbacks: [{use: a}]}",
         "a check is one condition: what is clear is its opposite. Remove `any`"),
        ("triggers: []", "unknown key 'triggers'"),
        (f"breakers: {{checks: {{{CHECK}}}, fallbacks: [{{use: a}}, {{use: b, on: [response_time]}}]}}",
         "'b' is never chosen: those before it answer all that it does. Put it before them"),
        (f"breakers: {{checks: {{{CHECK}}}, fallbacks: [{{use: a}}, {{use: b}}]}}", "'b' is never chosen"),
        (f"breakers: {{checks: {{{CHECK}}}, fallbacks: [{{use: a, on: []}}, {{use: b}}]}}",
         "names no check. Write `on: [response_time]`, or leave `on` out for every check"),
    ],
)  # fmt: skip
def test_a_mistake(text: str, words: str) -> None:
    assert words in "\n".join(mistakes(text))


def test_a_last_fallback_for_whatever_may_come_is_no_mistake() -> None:
    plans = read(
        f"breakers: {{checks: {{{CHECK}}}, fallbacks: [{{use: a, on: [response_time, error_rate]}}, "
        "{use: b, on: [accuracy, consensus]}, {use: reject}]}"
    )
    assert plans.default is not None
    assert [fallback.use for fallback in plans.default.fallbacks] == ["a", "b", "reject"]


def test_unknown_keys_hide_nothing_and_only_those_of_a_check_are_offered() -> None:
    found = mistakes(
        "more: 1\n"
        "breakers:\n"
        "  open_four: 1m\n"
        "  probe_share: 2\n"
        "  damping: {withn: 5m, at_most: 1}\n"
        "  checks:\n"
        "    accuracy: {metric: m, whenn: 1, when: '< 1', for: 5, severity: low, baseline: {}, xyz: 1}\n"
        "  fallbacks: [{use: a}]\n"
        "  components:\n"
        "    c: {enable: false, open_for: 1}\n"
    )
    lines = sorted(int(text.split(":")[1]) for text in found)
    assert lines == [1, 3, 4, 5, 5, 7, 7, 7, 7, 7, 10, 10]
    together = "\n".join(found)
    assert "unknown key 'whenn'. Did you mean 'when'?" in together
    assert "a breaker has no severity. Remove `severity`" in together
    assert "a breaker knows no releases. Remove `baseline`" in together
    known = "metric, ratio, when, aggregate, window, staleness, clear, for, min_samples, no_data, matchers"
    assert f"unknown key 'xyz'. Known here: {known}" in together
    (named,) = mistakes(f"breakers: {{checks: {{{CHECK}}}, fallbacks: [{{use: a}}], xyz: 1}}")
    assert "Known here: checks, fallbacks, open_for" in named
    assert named.count("checks") == 1


def test_the_monitor_refuses_it_with_the_mistakes_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "rollback").mkdir()
    (tmp_path / "rollback" / "triggers.yml").write_text("triggers: [{name: a}]\n")
    (tmp_path / "targets.yml").write_text('default: "{component}"\n')
    (tmp_path / FILE).write_text(MISTAKES)
    with pytest.raises(ConfigErrors) as raised:
        load_config(tmp_path)
    text = str(raised.value)
    assert "triggers.yml:1: a metric or a ratio is needed" in text
    assert f"{FILE}:3: 2 is not a share of the calls" in text
