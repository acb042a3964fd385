"""Predictive alerts: the plan's ``predictive_alerts``, read with every mistake named.

    enhanced_monitoring:
      predictive_alerts:
        - model: "response_time_predictor"
          prediction_window: "30 minutes"
          confidence_threshold: 0.8
          metric: response_time_p95_ms      # this and what follows may be left out for the plan's models
          breach: "> 3000"
          group_by: [component]

The rest of the file, early warnings, is read elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from chassis.errors import ConfigError
from chassis.yaml_source import Located, Problems, load_yaml_file
from services.monitor.adapters.rule_fields import read_name
from services.monitor.domain.language.conditions import Condition, parse_condition
from services.monitor.domain.language.durations import parse_duration
from services.monitor.domain.prediction.alerts import DIRECTED, PredictiveAlert

FILE = Path("monitoring") / "enhanced_monitoring.yml"
"""Where the configuration directory has them."""
ROOT, ALERTS, WARNINGS = "enhanced_monitoring", "predictive_alerts", "early_warning_indicators"
PLANS_MODELS = {
    "response_time_predictor": ("response_time_p95_ms", Condition(">", 3000.0)),
    "error_rate_predictor": ("error_rate", Condition(">", 0.05)),
}
LEAST_WINDOW_S, MOST_WINDOW_S = 60, 86_400

_IN_WORDS = re.compile(r"\s*(\d{1,6})\s+(second|minute|hour|day)s?\s*")
_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}


def load_predictive_alerts(paths: Iterable[Path]) -> tuple[PredictiveAlert, ...]:
    """The predictive alerts of these files; a file without any has none.

    Raises ConfigErrors with everything that is wrong in any of the files.
    """
    problems = Problems()
    alerts: list[PredictiveAlert] = []
    named: dict[str, Located] = {}
    for path in paths:
        with problems.collect():
            for node in _entries(load_yaml_file(path)):
                with problems.collect():
                    alert = _alert(node)
                    first = named.setdefault(alert.model, node)
                    if first is not node:
                        raise node.mapping()["model"].error(
                            f"the model {alert.model!r} is named twice (first at {first.place})",
                            mend="Give it another name, and name its metric and breach",
                        )
                    alerts.append(alert)
    problems.raise_any()
    return tuple(alerts)


def _entries(document: Located) -> tuple[Located, ...]:
    root = document.mapping().get(ROOT)
    if root is None:
        return ()
    fields = root.fields(optional=(ALERTS, WARNINGS))
    return fields[ALERTS].sequence() if ALERTS in fields else ()


def _alert(node: Located) -> PredictiveAlert:
    fields = node.fields(
        required=("model", "prediction_window", "confidence_threshold"),
        optional=("metric", "breach", "group_by"),
    )
    problems = Problems()
    model, metric, breach, horizon, confidence = "", "", Condition(">", 0.0), 0, 0.0
    group_by: tuple[str, ...] = ("component",)
    with problems.collect():
        model = read_name(fields["model"])
    known = PLANS_MODELS.get(model)
    if known is not None:
        metric, breach = known
    with problems.collect():
        horizon = _window(fields["prediction_window"])
    with problems.collect():
        confidence = _confidence(fields["confidence_threshold"])
    if "metric" in fields:
        with problems.collect():
            metric = read_name(fields["metric"])
    if "breach" in fields:
        with problems.collect():
            breach = _breach(fields["breach"])
    if "group_by" in fields:
        with problems.collect():
            group_by = _group_by(fields["group_by"])
    for key, example in (("metric", "response_time_p95_ms"), ("breach", '"> 3000"')):
        if model and known is None and key not in fields:
            plans = " and ".join(PLANS_MODELS)
            problems.add(
                node.error(
                    f"the model {model!r} has no {key}",
                    mend=f"Add `{key}: {example}`, say; only {plans} need none",
                )
            )
    problems.raise_any()
    return PredictiveAlert(model, metric, breach, horizon, confidence, group_by, node.place)


def _window(node: Located) -> int:
    mend = 'Write "30 minutes" or 30m'
    if isinstance(node.content, int | float) and not isinstance(node.content, bool):
        raise node.error(f"{node.content} has no unit", mend=mend)
    text = node.string()
    match = _IN_WORDS.fullmatch(text)
    try:
        seconds = int(match[1]) * _SECONDS[match[2]] if match else parse_duration(text)
    except ValueError as error:
        raise node.error(str(error), mend=mend) from None
    if not LEAST_WINDOW_S <= seconds <= MOST_WINDOW_S:
        raise node.error("a prediction window is a minute at least and a day at most", mend=mend)
    return seconds


def _confidence(node: Located) -> float:
    share = node.number()
    if not 0.0 < share < 1.0:
        raise node.error(
            f"{share:g} is no confidence", mend="Write a probability between 0 and 1, such as 0.8"
        )
    return share


def _breach(node: Located) -> Condition:
    mend = 'Write what a breach is, as in breach: "> 3000"'
    try:
        condition = parse_condition(node.string())
    except ValueError as error:
        raise node.error(str(error), mend=mend) from None
    if condition.operator not in DIRECTED:
        raise node.error(
            f"nothing approaches {str(condition)!r} from one side", mend=f"Use one of {' '.join(DIRECTED)}"
        )
    return condition


def _group_by(node: Located) -> tuple[str, ...]:
    labels = tuple(item.string() for item in node.sequence())
    if "component" not in labels:
        raise node.error("must contain `component`", mend="Write `group_by: [component]`")
    if len(set(labels)) < len(labels):
        raise node.error("names a label twice", mend="Name each label once")
    return labels


def predictive_files(config_dir: Path, rule_files: Iterable[Path]) -> tuple[Path, ...]:
    """The files to read: those of ``rule_files`` that have predictive alerts, or else the
    configuration directory's. Raises ConfigError where there are none at all."""
    named = tuple(path for path in rule_files if path.exists() and has_predictive_alerts(path))
    if named:
        return named
    path = config_dir / FILE
    if not path.exists():
        raise ConfigError(
            "there are no predictive alerts",
            place=str(path),
            mend=f"Add them there, under {ROOT}.{ALERTS}, or name a file that has some",
        )
    return (path,)


def has_predictive_alerts(path: Path) -> bool:
    """Whether this file has a part for them; raises ConfigError if it is no YAML."""
    document = load_yaml_file(path)
    root = document.content.get(ROOT) if isinstance(document.content, dict) else None
    return root is not None and isinstance(root.content, dict) and ALERTS in root.content
