"""The plan's own formats: business triggers and early warnings, as the plan lays them out.

Its entries leave out what a trigger needs to be evaluated. A business trigger names no
operator, aggregate, component or action; an early warning names a trend (``response_time_trend``)
instead of a metric, and an action by a name of its own. The two tables below say what they
stand for; docs/triggers.md prints them.
"""

from __future__ import annotations

import re

from chassis.yaml_source import Located, Problems
from services.monitor.adapters.rule_fields import read_duration, read_name
from services.monitor.domain.language.aggregates import DEFAULT_AGGREGATE, TRAITS, Aggregate
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.phases import Terms
from services.monitor.domain.language.rules import COMPONENT_PLACEHOLDER, Action, Rule

PLAN_STALENESS_S, PLAN_MIN_SAMPLES = 30, 3
"""The plan's entries cannot say these: one bad sample and then silence fires nothing."""
WARNING_KEEPS_FIRING_S = 60
"""A trend that hovers at its threshold is one warning, not one a second."""

TRENDS = {
    "response_time_trend": "response_time_p95_ms",
    "accuracy_degradation": "accuracy_score",
    "consensus_disagreement_rate": "consensus_disagreement_rate",
}
"""The metric behind each trend that the plan names; any other name is a metric itself."""

ACTIONS = {
    "alert_engineering_team": Action("notify", "engineering_team"),
    "trigger_automated_validation": Action("validate", COMPONENT_PLACEHOLDER),
    "initiate_consensus_health_check": Action("health_check", "consensus"),
}
"""What each of the plan's actions asks for, and of whom."""

_TREND = re.compile(
    r"\s*(\d+(?:\.\d+)?)\s*%\s+(increase|decrease)\s+over\s+(\d+)\s*(second|minute|hour)s?\s*"
)
_SECONDS = {"second": 1, "minute": 60, "hour": 3_600}
_OF_TREND: Aggregate = "change"
_LEAST_WINDOW_S, _MAX_WINDOW_S = TRAITS[_OF_TREND].least_window, 86_400


def business_rule(node: Located) -> Rule:
    """An entry of the plan's business triggers, which name no operator, component or action."""
    fields = node.fields(required=("metric", "threshold", "duration"), optional=("immediate_rollback",))
    problems = Problems()
    metric, threshold, lasting, immediate = "", 0.0, 0, False
    with problems.collect():
        metric = read_name(fields["metric"])
    with problems.collect():
        threshold = fields["threshold"].number()
    with problems.collect():
        lasting = read_duration(fields["duration"], least=0)
    if "immediate_rollback" in fields:
        with problems.collect():
            immediate = fields["immediate_rollback"].boolean()
    problems.raise_any()
    return Rule(
        name=metric,
        metric=metric,
        aggregate=DEFAULT_AGGREGATE,
        window=PLAN_STALENESS_S,
        when=Condition(">", threshold),
        clear=None,
        terms=Terms(lasting, min_samples=PLAN_MIN_SAMPLES),
        severity="high",
        immediate=immediate,
        place=node.place,
    )


def early_warning(node: Located) -> Rule:
    """An entry of ``early_warning_indicators``: ``15% increase over 5 minutes`` of a metric's mean,
    from the window's first fifth to its last. Raises ConfigError(s)."""
    fields = node.fields(required=("metric", "threshold", "action"))
    problems = Problems()
    name, when, window, action = "", Condition(">", 0.0), _LEAST_WINDOW_S, next(iter(ACTIONS.values()))
    with problems.collect():
        name = read_name(fields["metric"])
    with problems.collect():
        when, window = _trend(fields["threshold"])
    with problems.collect():
        action = ACTIONS[fields["action"].one_of(ACTIONS)]
    problems.raise_any()
    return Rule(
        name=name,
        metric=TRENDS.get(name, name),
        aggregate=_OF_TREND,
        window=window,
        when=when,
        clear=None,
        terms=Terms(0, keep=WARNING_KEEPS_FIRING_S, min_samples=PLAN_MIN_SAMPLES),
        severity="medium",
        action=action,
        place=node.place,
    )


def _trend(node: Located) -> tuple[Condition, int]:
    text = node.string()
    mend = 'Write "15% increase over 5 minutes" (or decrease; seconds, minutes or hours)'
    match = _TREND.fullmatch(text)
    if match is None:
        raise node.error(f"{text[:60]!r} is not a trend", mend=mend)
    percent, direction, number, unit = match.groups()
    window = int(number) * _SECONDS[unit]
    if not _LEAST_WINDOW_S <= window <= _MAX_WINDOW_S:
        raise node.error(f"a trend is over at least {_LEAST_WINDOW_S} seconds and at most a day", mend=mend)
    change = float(percent) / 100.0
    if not change:
        raise node.error(
            "an increase or decrease of 0% is any change at all", mend=f"{mend}, of 1% or more, say"
        )
    if direction == "decrease" and change >= 1.0:
        raise node.error(f"nothing decreases by more than {percent}%", mend=f"{mend}, of less than 100%")
    return (Condition(">", change) if direction == "increase" else Condition("<", -change)), window
