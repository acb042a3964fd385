"""The topics as values, read from ``topics.yaml`` beside this file."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

TopicId = Literal[
    "metrics",
    "logs",
    "triggers",
    "trigger-states",
    "reports",
    "compound-states",
    "breakers",
    "predictions",
    "prediction-states",
    "heartbeats",
    "commands",
    "rollbacks",
    "notifications",
    "incidents",
    "dead-letter",
]


class Topic(BaseModel):
    """One topic: ``name`` is without the namespace, ``config`` are Kafka's topic settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    purpose: str
    key: str
    content: str
    partitions: int = Field(ge=1)
    config: dict[str, str] = {}
    producers: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()

    @property
    def carries_events(self) -> bool:
        """Whether its records are CloudEvents."""
        return self.content == "CloudEvents"


class _TopicsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    topics: dict[TopicId, Topic]


@cache
def all_topics() -> dict[TopicId, Topic]:
    """Every topic by its short id, in the order of the file."""
    text = files("schemas").joinpath("topics.yaml").read_text(encoding="utf-8")
    return _TopicsFile.model_validate(yaml.safe_load(text)).topics


def topic_name(topic: TopicId, namespace: str = "") -> str:
    """The name on the broker: ``<namespace><name>``."""
    return namespace + all_topics()[topic].name
