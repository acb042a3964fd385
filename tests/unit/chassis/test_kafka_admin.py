"""How a topic on the broker stands to its definition."""

from __future__ import annotations

import pytest

from chassis.kafka_admin import GroupPartition, TopicState, compare
from schemas.topics import all_topics

METRICS = all_topics()["metrics"]
DEFAULTS = {"segment.bytes": "1073741824"}


@pytest.mark.parametrize(
    ("partitions", "config", "state"),
    [
        (None, {}, TopicState.MISSING),
        (METRICS.partitions, {**DEFAULTS, **METRICS.config}, TopicState.AS_DEFINED),
        (METRICS.partitions, DEFAULTS, TopicState.CONFIG_DIFFERS),
        (METRICS.partitions + 1, {**DEFAULTS, **METRICS.config}, TopicState.PARTITIONS_DIFFER),
        (METRICS.partitions + 1, DEFAULTS, TopicState.PARTITIONS_DIFFER),
    ],
)
def test_state_of_a_topic(partitions: int | None, config: dict[str, str], state: TopicState) -> None:
    report = compare(METRICS, partitions, config)
    assert (report.id, report.state) == ("metrics", state)


def test_each_difference_shows_both_sides() -> None:
    config = {**METRICS.config, "retention.ms": "1"}
    report = compare(METRICS, 1, config)
    assert report.differences == {"retention.ms": ("1", "604800000"), "partitions": ("1", "4")}


@pytest.mark.parametrize(("committed", "lag"), [(None, None), (10, 0), (4, 6), (12, 0)])
def test_lag(committed: int | None, lag: int | None) -> None:
    assert GroupPartition("t", 0, committed, 10, None).lag == lag
