"""topics.yaml names every topic, and agrees with the events and the services."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from schemas.registry import DATA_MODELS
from schemas.topics import Topic, TopicId, all_topics, topic_name

ROLES = {"systems under protection", "monitor", "executor", "notifier", "analyzer", "cli"}


def test_every_topic_is_there() -> None:
    assert set(all_topics()) == set(get_args(TopicId))


def test_names_carry_the_id_and_a_version() -> None:
    for topic_id, topic in all_topics().items():
        assert topic.name == f"backout.{topic_id}.v1"
        assert topic_name(topic_id, "test.") == f"test.{topic.name}"


def test_the_topics_of_events_are_those_with_models() -> None:
    carriers = {topic_id for topic_id, topic in all_topics().items() if topic.carries_events}
    assert carriers == {model.topic for model in DATA_MODELS}


def test_every_topic_has_a_producer_and_only_known_roles() -> None:
    for topic in all_topics().values():
        assert topic.producers
        assert set(topic.producers) | set(topic.consumers) <= ROLES


def test_low_rate_topics_have_one_partition_and_states_as_many_as_metrics() -> None:
    partitions = {topic_id: topic.partitions for topic_id, topic in all_topics().items()}
    assert partitions["trigger-states"] == partitions["prediction-states"] == partitions["metrics"]
    several = {topic_id for topic_id, count in partitions.items() if count > 1}
    assert several == {"metrics", "trigger-states", "compound-states", "prediction-states"}


def test_time_is_the_brokers_where_triggers_are_evaluated() -> None:
    assert all_topics()["metrics"].config["message.timestamp.type"] == "LogAppendTime"
    for topic in ("trigger-states", "prediction-states"):
        assert all_topics()[topic].config["cleanup.policy"] == "compact"


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="replicas"):
        Topic.model_validate(
            {"name": "a", "purpose": "p", "key": "k", "content": "c", "partitions": 1, "replicas": 3}
        )
