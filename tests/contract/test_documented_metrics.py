"""docs/operations.md names every metric of the monitor with its labels, and no other; its alert rules
use metrics that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from services.monitor.adapters.compound_metrics import CompoundMetrics
from services.monitor.adapters.ingest_metrics import IngestMetrics
from services.monitor.adapters.metrics import MonitorMetrics

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
SUFFIXES = re.compile(r"_(bucket|count|sum)$")


def exposed() -> dict[str, tuple[str, ...]]:
    """The label names of each metric, by the name that /metrics shows."""
    registry = CollectorRegistry()
    MonitorMetrics(registry)
    IngestMetrics(registry)
    CompoundMetrics(registry)
    collectors: list[Any] = list(registry._collector_to_names)
    return {
        f"{each._name}_total" if each._type == "counter" else each._name: tuple(each._labelnames)
        for each in collectors
    }


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
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    rules = [rule for group in yaml.safe_load(block)["groups"] for rule in group["rules"]]
    assert len(rules) >= 5
    known = {*exposed(), "backout_notifier_partitions_not_evaluated"}
    for rule in rules:
        assert rule["annotations"]["summary"]
        used = re.findall(r"backout_(?:monitor|notifier)_\w+", rule["expr"])
        assert used or "up{" in rule["expr"]
        assert {SUFFIXES.sub("", name) for name in used} <= known
