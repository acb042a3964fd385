"""Watching an incident as it happens: the events of every control-plane topic, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from chassis.consume import received
from chassis.errors import Unreadable
from chassis.kafka import Kafka
from schemas.incidents import IncidentEvent
from schemas.notifications import DeliveryEvent
from schemas.registry import AnyEvent
from schemas.rollbacks import RollbackEvent
from schemas.topics import TopicId, all_topics
from schemas.triggers import TriggerEvent

Told = Callable[[AnyEvent], None]


@dataclass(slots=True)
class Watched:
    """What has been seen so far, each event once, in the order of arrival."""

    events: list[AnyEvent] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def add(self, event: AnyEvent) -> bool:
        """Note an event; False if it was there already."""
        if event.id in self._seen:
            return False
        self._seen.add(event.id)
        self.events.append(event)
        async with self._news:
            self._news.notify_all()
        return True

    async def until(self, wanted: Callable[[Watched], bool], timeout_s: float) -> bool:
        """Wait until ``wanted`` holds; False if it does not within ``timeout_s``."""
        try:
            async with self._news:
                await asyncio.wait_for(self._news.wait_for(lambda: wanted(self)), timeout_s)
        except TimeoutError:
            return False
        return True

    def triggers(self, kind: str) -> list[TriggerEvent]:
        """The trigger events of one kind, whose action is a rollback."""
        found = [event.data for event in self.events if isinstance(event.data, TriggerEvent)]
        return [data for data in found if data.kind == kind and data.action.kind == "rollback"]

    def rollbacks(self, kind: str | None = None) -> list[RollbackEvent]:
        found = [event.data for event in self.events if isinstance(event.data, RollbackEvent)]
        return [data for data in found if kind in (None, data.kind)]

    def deliveries(self) -> list[DeliveryEvent]:
        return [event.data for event in self.events if isinstance(event.data, DeliveryEvent)]

    def incidents(self, kind: str) -> list[IncidentEvent]:
        found = [event.data for event in self.events if isinstance(event.data, IncidentEvent)]
        return [data for data in found if data.kind == kind]


def event_topics() -> list[TopicId]:
    """The topics that carry CloudEvents."""
    return [topic for topic, facts in all_topics().items() if facts.carries_events]


async def watch(kafka: Kafka, watched: Watched, told: Told, ready: asyncio.Event) -> None:
    """Follow the events until cancelled; ``ready`` is set once the consumer runs."""
    names = [kafka.topic(topic) for topic in event_topics()]
    async with kafka.consumer(*names) as consumer:
        ready.set()
        while True:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    try:
                        event = received(record).event
                    except Unreadable:
                        continue  # the services set it aside as a dead letter; a watcher only shows
                    if await watched.add(event):
                        told(event)
