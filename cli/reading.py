"""What commands share that read a whole topic, as far as it goes now."""

from __future__ import annotations

from collections.abc import Callable

from chassis.errors import ConfigError
from chassis.kafka import Kafka, Record, TopicPartition, read_range
from chassis.kafka_admin import TopicState, inspect_topics
from chassis.settings import Settings
from schemas.topics import TopicId


async def read_topic(settings: Settings, topic: TopicId, take: Callable[[Record], None]) -> None:
    """Give ``take`` each record of a topic of one partition, in order. Raises ConfigError if there is
    no such topic."""
    kafka = Kafka.of(settings, "cli")
    place = TopicPartition(kafka.topic(topic), 0)
    # Asked first: a client that reads waits for a topic to be created.
    if any(each.id == topic and each.state is TopicState.MISSING for each in await inspect_topics(kafka)):
        raise ConfigError("there is no such topic", place=place.topic, mend="Run `backout topics init`")
    async with kafka.reader(place) as reader:
        begin = (await reader.beginning_offsets([place]))[place]
        end = (await reader.end_offsets([place]))[place]
    await read_range(kafka, place, begin, end - 1, each=take)
