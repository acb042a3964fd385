"""What commands share that send an event: who sends, and whether there is a topic for it (which those ask
that read, too)."""

from __future__ import annotations

import getpass
import os
from typing import TypeVar

from chassis.errors import UsageError
from chassis.kafka import Kafka
from chassis.kafka_admin import TopicState, inspect_topics
from schemas.envelope import CONTENT_TYPE, Event, KindedData
from schemas.topics import TopicId

D = TypeVar("D", bound=KindedData)


def user() -> str:
    """Who is asking; in a container, whose user may have no name, the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


async def require_topics(kafka: Kafka, *needed: TopicId) -> None:
    """Raise UsageError for topics that are not there: who sends or reads would only wait for them."""
    reports = await inspect_topics(kafka)
    missing = [
        kafka.topic(item.id) for item in reports if item.id in needed and item.state is TopicState.MISSING
    ]
    if missing:
        raise UsageError(f"there is no topic {', '.join(missing)}. Create it with `backout topics init`")


async def send_event(kafka: Kafka, topic: TopicId, event: Event[D]) -> None:
    """Send it, keyed by its component, and wait for the broker's answer."""
    async with kafka.producer() as producer:
        await producer.send(
            kafka.topic(topic),
            event.to_bytes(),
            key=event.subject.encode(),
            headers=[("content-type", CONTENT_TYPE.encode())],
        )
