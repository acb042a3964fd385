"""docs/operations.md names every metric of the monitor with its labels, and no other; its alert rules
use metrics that there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from services.monitor.adapters.compound_metrics import CompoundMetrics
from services.monitor.adapters.ingest_metrics import IngestMetrics
from services.monitor.adapters.metrics import MonitorMetrics
from services.notifier.adapters.metrics import NotifierMetrics
from tests.alerts import base_name, metrics_in

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ALERTS = ROOT / "config" / "prometheus" / "alerts.yml"
RULES = [
    rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]


def exposed() -> dict[str, tuple[str, ...]]:
    """The label names of each of the monitor's metrics, by the name that /metrics shows."""
    return names_of(MonitorMetrics, IngestMetrics, CompoundMetrics)


def names_of(*kinds: Callable[[CollectorRegistry], object]) -> dict[str, tuple[str, ...]]:
    registry = CollectorRegistry()
    for kind in kinds:
        kind(registry)
    collectors: list[Any] = list(registry._collector_to_names)
    own = [each for each in collectors if hasattr(each, "_type")]
    described = [family for each in collectors if each not in own for family in each.describe()]
    return {
        f"{each._name}_total" if each._type == "counter" else each._name: tuple(each._labelnames)
        for each in own
    } | {family.name: tuple(family._labelnames) for family in described}


def test_the_table_names_every_metric_with_its_labels() -> None:
    rows = re.findall(r"^\| `(backout_monitor_\w+)` \|([^|]*)\|", TEXT, re.MULTILINE)
    documented = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert documented == exposed()


def test_names_follow_the_conventions() -> None:
    """Base units, and `_total` for counters alone."""
    for name in exposed():
        assert re.fullmatch(r"backout_monitor_[a-z_]+", name)
        assert not re.search(r"_(ms|milliseconds|minutes|percent)(_|$)", name)


def test_the_alert_rules_are_of_metrics_that_there_are() -> None:
    known = {*exposed(), *names_of(NotifierMetrics)}
    for rule in RULES:
        assert rule["annotations"]["summary"]
        used = metrics_in(rule["expr"])
        assert used or "up{" in rule["expr"]
        assert used <= known, rule["alert"]


def test_every_alert_is_documented_and_is_tried_both_ways() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names) >= 8
    assert re.findall(r"^\| `(Backout\w+)` \|", TEXT, re.MULTILINE) == names
    trials = yaml.safe_load((ALERTS.parent / "alerts_test.yml").read_text(encoding="utf-8"))
    assert trials["rule_files"] == [ALERTS.name]
    tried = [trial for group in trials["tests"] for trial in group["alert_rule_test"]]
    for silent in (True, False):
        assert {each["alertname"] for each in tried if (not each["exp_alerts"]) is silent} == set(names)
    series = {each["series"] for group in trials["tests"] for each in group["input_series"]}
    assert {base_name(each.partition("{")[0]) for each in series} - {"up"} <= {
        *exposed(),
        *names_of(NotifierMetrics),
    }
