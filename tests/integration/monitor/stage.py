"""What the monitor's tests share: samples into the log, events out of it, and the backtest."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from chassis.kafka import Kafka, Producer, Record, TopicPartition, read_range
from chassis.kafka_admin import TopicState, ensure_topics, inspect_topics
from schemas.dead_letters import DeadLetterPlace
from schemas.registry import read_event
from schemas.topics import TopicId
from schemas.triggers import TriggerEvent
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.partition_log import read_memory
from services.monitor.adapters.topic_range import backtest_topic, topic_ends
from services.monitor.domain.engine.outcomes import rfc3339
from tests.polling import eventually

TARGETS = 'default: "{component}"\n'
RULES = """\
triggers:
  - {name: slow, metric: ms, when: "> 100", clear: "< 80", for: 5s, staleness: 10s, min_samples: 3}
  - {name: errors, metric: errors, aggregate: sum, window: 10s, when: ">= 5", for: 2s, no_data: ok}
  - {name: p95, metric: ms, aggregate: p95, window: 20s, when: "> 150", for: 3s, keep_firing_for: 4s}
  - {name: average, metric: ms, aggregate: avg, window: 7s, when: "> 90.5"}
  - {name: silent, metric: errors, staleness: 5s, when: "> 1000", for: 3s, no_data: breach}
"""
COMPONENTS = tuple(f"component_{number}" for number in range(6))


def configure(directory: Path, rules: str = RULES) -> Path:
    """A configuration directory with these triggers."""
    (directory / "rollback").mkdir(parents=True, exist_ok=True)
    (directory / "rollback" / "triggers.yml").write_text(rules)
    (directory / "targets.yml").write_text(TARGETS)
    return directory


def sample(metric: str, component: str, value: float, at: float, **more: Any) -> bytes:
    return json.dumps({"metric": metric, "component": component, "value": value, "time": at, **more}).encode()


def an_hour_ago() -> int:
    return int(time.time()) - 3_600


@dataclass(frozen=True)
class Told:
    """A trigger event with the place of its record."""

    id: str
    data: TriggerEvent


class Stage:
    """The log of one test."""

    def __init__(self, kafka: Kafka, producer: Producer, directory: Path) -> None:
        self.kafka = kafka
        self.producer = producer
        self.directory = directory

    async def publish(self, values: Iterable[tuple[str, bytes | None]]) -> None:
        """Append (component, value) pairs, keyed by component, and wait for them."""
        topic = self.kafka.topic("metrics")
        sent = [
            await self.producer.enqueue(topic, value, key=component.encode()) for component, value in values
        ]
        for task in sent:
            await task

    async def publish_as_of(self, values: Iterable[tuple[str, bytes, float]]) -> None:
        """Append (component, value, time) as if each had been appended at its time: meanwhile the topic
        takes the producer's word for that."""
        topic = self.kafka.topic("metrics")
        async with self.kafka.admin() as admin:
            created = ConfigResource(
                ConfigResourceType.TOPIC, topic, configs={"message.timestamp.type": "CreateTime"}
            )
            await admin.alter_configs([created])
        await self._metrics_are(TopicState.CONFIG_DIFFERS)
        async with AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap_servers) as producer:
            sent = [
                await producer.send(topic, value, key=component.encode(), timestamp_ms=round(at * 1000))
                for component, value, at in values
            ]
            for future in sent:
                await future
        await ensure_topics(self.kafka)
        await self._metrics_are(TopicState.AS_DEFINED)

    async def _metrics_are(self, state: TopicState) -> None:
        async def they_are() -> bool:
            return any(
                each.id == "metrics" and each.state is state for each in await inspect_topics(self.kafka)
            )

        await eventually(they_are, what=f"the metrics topic is {state}")

    async def ends(self) -> Mapping[int, int]:
        return {number: end for number, (_, end) in (await topic_ends(self.kafka)).items()}

    async def checkpointed(self) -> dict[int, int]:
        """The next offset, of triggers and of predictions, of each partition that has a checkpoint."""
        found = {}
        for number in await self.ends():
            checkpoint = (await read_memory(self.kafka, number)).checkpoint
            if checkpoint is not None:
                predicted = checkpoint.predicted
                found[number] = min(
                    checkpoint.next_offset,
                    checkpoint.next_offset if predicted is None else predicted.next_offset,
                )
        return found

    async def caught_up(self) -> None:
        """Wait until all that is in the log now is decided and written."""
        begins = {number: begin for number, (begin, _) in (await topic_ends(self.kafka)).items()}
        ends = {number: end for number, end in (await self.ends()).items() if end > begins[number]}

        async def is_there() -> bool:
            done = await self.checkpointed()
            return all(done.get(number, 0) >= end for number, end in ends.items())

        await eventually(is_there, what="the monitor has read the log", timeout_s=60)

    async def records(self, topic: TopicId, partition: int = 0) -> list[Record]:
        """All committed records of a partition."""
        place = TopicPartition(self.kafka.topic(topic), partition)
        async with self.kafka.reader(place) as reader:
            end = (await reader.end_offsets([place]))[place]
        found: list[Record] = []
        await read_range(self.kafka, place, 0, end - 1, each=found.append)
        return found

    async def delete_first_samples(self, partition: int, before: int) -> None:
        """As retention does in the end."""
        place = TopicPartition(self.kafka.topic("metrics"), partition)
        async with self.kafka.admin() as admin:
            await admin.delete_records({place: RecordsToDelete(before_offset=before)})

    async def told(self) -> list[Told]:
        """Every trigger event, in the order of the log."""
        events = [read_event(record.value) for record in await self.records("triggers")]
        return [Told(event.id, event.data) for event in events if isinstance(event.data, TriggerEvent)]

    async def dead_letters(self) -> list[tuple[DeadLetterPlace, bytes | None]]:
        return [
            (DeadLetterPlace.from_headers(list(record.headers)), record.value)
            for record in await self.records("dead-letter")
        ]

    async def backtested(self) -> list[dict[str, Any]]:
        """What a backtest over the range that was decided would have told, sorted."""
        begins = {number: begin for number, (begin, _) in (await topic_ends(self.kafka)).items()}
        ranges = {number: (begins[number], end) for number, end in (await self.checkpointed()).items()}
        found = await backtest_topic(
            self.kafka,
            load_config(self.directory).rules,
            allowed_lateness=2.0,
            on_unread=lambda _place, _unread: None,
            ranges=ranges,
            portion=777,
        )
        told = [
            {
                "id": f"{outcome.trigger_id}/{outcome.kind}/{rfc3339(outcome.at)}",
                "reason": outcome.reason,
                "value": outcome.value,
                "why": outcome.why,
                "offsets": outcome.evidence and (
                    outcome.evidence.partition, outcome.evidence.first_offset, outcome.evidence.last_offset
                ),
            }
            for outcome in found.outcomes
            if outcome.kind is not None
        ]  # fmt: skip
        return sorted(told, key=lambda entry: str(entry["id"]))

    async def told_like_backtest(self) -> list[dict[str, Any]]:
        """The live events in the form of ``backtested``."""
        told = [
            {
                "id": event.id,
                "reason": event.data.reason,
                "value": event.data.value,
                "why": event.data.why,
                "offsets": event.data.evidence and (
                    event.data.evidence.partition,
                    event.data.evidence.first_offset,
                    event.data.evidence.last_offset,
                ),
            }
            for event in await self.told()
        ]  # fmt: skip
        return sorted(told, key=lambda entry: entry["id"])
