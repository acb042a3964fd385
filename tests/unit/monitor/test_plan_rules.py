"""The shipped triggers are those of the plan, with its numbers."""

from __future__ import annotations

from pathlib import Path

from services.monitor.adapters.config_directory import load_config
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.phases import Terms
from services.monitor.domain.language.rules import Action

CONFIG = Path(__file__).resolve().parents[3] / "config"


def test_the_plans_default_triggers_ship_with_their_numbers() -> None:
    rules = {rule.name: rule for rule in load_config(CONFIG).rules}
    p95, accuracy, errors = rules["response_time_p95"], rules["accuracy_score"], rules["error_rate"]
    assert (p95.when, p95.terms.lasting, p95.severity) == (Condition(">", 3_000), 300, "critical")
    assert (accuracy.when, accuracy.terms.lasting, accuracy.severity) == (
        Condition("<", 0.9),
        120,
        "critical",
    )
    assert (errors.when, errors.terms.lasting, errors.severity) == (Condition(">", 0.05), 180, "high")
    assert {(rule.window, rule.terms.min_samples) for rule in (p95, accuracy, errors)} == {(30, 3)}


def test_the_plans_business_triggers_load_as_the_plan_has_them() -> None:
    rules = {rule.name: rule for rule in load_config(CONFIG).rules}
    expected = {
        "user_session_abandonment_rate": (0.15, 600, False),
        "consensus_failure_rate": (0.20, 300, False),
        "citation_validation_failures": (0.10, 120, True),
    }
    for name, (threshold, lasting, immediate) in expected.items():
        rule = rules[name]
        assert (rule.metric, rule.aggregate, rule.severity) == (name, "last", "high")
        assert (rule.when, rule.terms) == (Condition(">", threshold), Terms(lasting, min_samples=3))
        assert rule.window == 30
        assert (rule.action, rule.immediate) == (Action("rollback", "{component}"), immediate)


def test_the_plans_symptoms_ship_with_their_numbers() -> None:
    rules = {rule.name: rule for rule in load_config(CONFIG).rules}
    expected = {
        "extraction_accuracy": "avg over 1m < 0.95 for 2m",
        "extraction_time_per_page": "avg over 1m > 1 for 2m",
        "chunking_time_per_page": "avg over 1m > 500 for 2m",
        "chunking_memory": "min over 1m > 8192 for 2m",
        "chunk_boundary_accuracy": "avg over 1m < 0.9 for 2m",
        "model_load_failures": "rate over 5m > 0",
        "consensus_agreement": "avg over 1m < 0.7 for 2m",
        "inconsistent_results": "rate over 5m > 0 for 2m",
    }
    for name, condition in expected.items():
        assert (rules[name].condition, rules[name].action) == (condition, Action("rollback", "{component}"))
    assert rules["chunking_memory"].selection.group_of("pdf_extraction", {}) is None


def test_every_metric_type_of_the_plan_has_a_default_trigger() -> None:
    metrics = {rule.metric for rule in load_config(CONFIG).rules}
    assert metrics >= {
        "response_time_p95_ms",
        "accuracy_score",
        "throughput_req_per_sec",
        "error_rate",
        "consensus_failure_rate",
        "cache_hit_ratio",
    }


def test_the_plans_early_warnings_load_as_the_plan_has_them() -> None:
    rules = {rule.name: rule for rule in load_config(CONFIG).rules}
    expected = {
        "response_time_trend": ("response_time_p95_ms", "> 0.15", 300, Action("notify", "engineering_team")),
        "accuracy_degradation": ("accuracy_score", "< -0.02", 600, Action("validate", "{component}")),
        "consensus_disagreement_rate": (
            "consensus_disagreement_rate",
            "> 0.1",
            180,
            Action("health_check", "consensus"),
        ),
    }
    for name, (metric, when, window, action) in expected.items():
        rule = rules[name]
        assert (rule.metric, str(rule.when), rule.window, rule.action) == (metric, when, window, action)
        assert (rule.aggregate, rule.terms) == ("change", Terms(0, keep=60, min_samples=3))
