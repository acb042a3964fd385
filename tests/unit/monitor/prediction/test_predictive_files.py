"""Predictive alerts as configured: the plan's file unchanged, the extensions, and each mistake's place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chassis.errors import ConfigError, ConfigErrors
from services.monitor.adapters.predictive_files import (
    has_predictive_alerts,
    load_predictive_alerts,
    predictive_files,
)

PLANS = Path("config/monitoring/enhanced_monitoring.yml")


def write(directory: Path, *entries: str) -> Path:
    path = directory / "alerts.yml"
    lines = "".join(f"    - {{{entry}}}\n" for entry in entries)
    path.write_text(f"enhanced_monitoring:\n  predictive_alerts:\n{lines}", encoding="utf-8")
    return path


GOOD = "prediction_window: 30 minutes, confidence_threshold: 0.8"


def test_the_plans_file_loads_unchanged_with_its_defaults() -> None:
    latency, errors = load_predictive_alerts([PLANS])
    assert (latency.model, latency.metric, str(latency.breach)) == (
        "response_time_predictor",
        "response_time_p95_ms",
        "> 3000",
    )
    assert (latency.horizon, latency.confidence, latency.group_by) == (1_800, 0.8, ("component",))
    assert (errors.model, errors.metric, str(errors.breach)) == (
        "error_rate_predictor",
        "error_rate",
        "> 0.05",
    )
    assert (errors.horizon, errors.confidence) == (900, 0.9)
    assert latency.place.endswith("enhanced_monitoring.yml:17")


def test_an_entry_may_name_metric_breach_and_groups(tmp_path: Path) -> None:
    (alert,) = load_predictive_alerts(
        [
            write(
                tmp_path,
                f'model: low, {GOOD}, metric: hit_ratio, breach: "< 0.5", group_by: [component, zone]',
            )
        ]
    )
    assert (alert.metric, str(alert.breach), alert.group_by) == ("hit_ratio", "< 0.5", ("component", "zone"))


def test_the_plans_models_may_be_given_another_breach(tmp_path: Path) -> None:
    (alert,) = load_predictive_alerts(
        [write(tmp_path, f'model: error_rate_predictor, {GOOD}, breach: "> 0.2"')]
    )
    assert (alert.metric, str(alert.breach)) == ("error_rate", "> 0.2")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90 seconds", 90), ("1 minute", 60), ("2 hours", 7_200), ("1 day", 86_400), ("15m", 900)],
)
def test_windows_in_words_and_in_short(tmp_path: Path, text: str, seconds: int) -> None:
    entry = f"model: error_rate_predictor, prediction_window: {text}, confidence_threshold: 0.5"
    assert load_predictive_alerts([write(tmp_path, entry)])[0].horizon == seconds


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (f"model: mine, {GOOD}, metric: m", "has no breach"),
        (f'model: mine, {GOOD}, breach: "> 1"', "has no metric"),
        (f'model: mine, {GOOD}, metric: m, breach: "== 1"', "from one side"),
        (f'model: mine, {GOOD}, metric: m, breach: "3000"', "is not an operator and a number"),
        (f"model: error_rate_predictor, {GOOD}, group_by: [zone]", "must contain `component`"),
        (f"model: error_rate_predictor, {GOOD}, group_by: [component, component]", "names a label twice"),
        (f"model: error_rate_predictor, {GOOD}, metrik: m", "unknown key 'metrik'"),
        (f"model: 'two words', {GOOD}", "is not a name"),
        ("model: error_rate_predictor, prediction_window: 30 minutes", "confidence_threshold"),
        ("model: error_rate_predictor, prediction_window: 30, confidence_threshold: 0.8", "has no unit"),
        ("model: error_rate_predictor, prediction_window: soon, confidence_threshold: 0.8", "not a duration"),
        (
            "model: error_rate_predictor, prediction_window: 2 days, confidence_threshold: 0.8",
            "a day at most",
        ),
        (
            "model: error_rate_predictor, prediction_window: 1m, confidence_threshold: 80",
            "80 is no confidence",
        ),
    ],
)
def test_a_mistake_is_named_with_file_line_and_mend(tmp_path: Path, entry: str, problem: str) -> None:
    path = write(tmp_path, f"model: response_time_predictor, {GOOD}", entry)
    with pytest.raises(ConfigErrors) as caught:
        load_predictive_alerts([path])
    (error,) = caught.value.errors
    assert error.place == f"{path}:4"
    assert problem in f"{error}"
    assert error.mend


def test_every_mistake_is_told_at_once_and_a_name_only_once(tmp_path: Path) -> None:
    entry = f"model: response_time_predictor, {GOOD}"
    path = write(tmp_path, entry, entry, "model: x")
    with pytest.raises(ConfigErrors) as caught:
        load_predictive_alerts([path])
    assert len(caught.value.errors) == 3
    assert "named twice" in str(caught.value)


@pytest.mark.parametrize(
    ("operator", "breaching"),
    [
        (">", [False, False, True]),
        (">=", [False, True, True]),
        ("<", [True, False, False]),
        ("<=", [True, True, False]),
    ],
)
def test_the_excess_is_positive_where_it_breaches(
    tmp_path: Path, operator: str, breaching: list[bool]
) -> None:
    path = write(tmp_path, f'model: error_rate_predictor, {GOOD}, breach: "{operator} 0.3"')
    (alert,) = load_predictive_alerts([path])
    values = np.array([0.2, 0.3, 0.4])
    assert (alert.excess(values) > 0).tolist() == breaching
    assert breaching == [alert.breach.holds(value) for value in values]


def test_which_files_are_read(tmp_path: Path) -> None:
    other = tmp_path / "rules.yml"
    other.write_text("triggers: []\n", encoding="utf-8")
    mine = write(tmp_path, f"model: error_rate_predictor, {GOOD}")
    assert not has_predictive_alerts(other)
    assert load_predictive_alerts([other]) == ()
    assert predictive_files(Path("config"), [other, mine]) == (mine,)
    assert predictive_files(Path("config"), [other]) == (PLANS,)
    with pytest.raises(ConfigError, match="no predictive alerts"):
        predictive_files(tmp_path, [other])
