"""A flow of events that belong to one incident, which cannot end before the flow does: what the torture
of the analyzer plays.

Deliveries come in bursts, at a walking pace and with pauses; the journal's entries, the announcements of the
trigger and events that belong to no incident come between them. Some are written in transactions, which leave
gaps in the offsets, and some of those are aborted.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from chassis.kafka import Kafka, Producer
from schemas.envelope import KindedData, make_event
from schemas.notifications import DeliveryEvent
from schemas.registry import AnyEvent
from schemas.rollbacks import RollbackEvent
from schemas.topics import TopicId
from schemas.triggers import TriggerAction, TriggerEvent

COMPONENT = "pdf_extraction"
EXECUTION = "exec-1"
RECEIVERS = ("engineering_team", "status_page_update")
_TRIGGER = "response_time_p95"
_SOURCE = "/backout/torture"
_BURST = (20, 80)
_STEPS = (5, 30)
_STEP_S = (0.005, 0.04)
_PAUSE_S = (0.1, 0.8)
_ABORTED = 0.4

Written = tuple[TopicId, AnyEvent]


class _Abort(Exception):
    """Leaves a transaction without a commit."""


@dataclass
class IncidentEvents:
    """Makes the events; each has an id of its own."""

    began: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    number: int = 0

    @property
    def incident_id(self) -> str:
        return f"{_TRIGGER}:{COMPONENT}:{self.began:%Y%m%dT%H%M%SZ}"

    def trigger(self, kind: Any, *, action: Any = "rollback") -> Written:
        """``action`` other than a rollback makes one that belongs to no incident."""
        own = action == "rollback"
        trigger_id = self.incident_id if own else f"other:{COMPONENT}:{self.began:%Y%m%dT%H%M%SZ}"
        number, now = self._next(), datetime.now(UTC)
        data = TriggerEvent(
            kind=kind,
            trigger_id=trigger_id,
            trigger=_TRIGGER,
            component=COMPONENT,
            group={"component": COMPONENT},
            metric="response_time_p95_ms",
            severity="critical",
            at=now,
            began=self.began,
            value=4_120.0,
            threshold=3_000.0,
            condition="> 3000 for 10s",
            reason="clear" if kind == "resolved" else "breached_for_long_enough",
            why="response_time_p95_ms was 4120, > 3000 for 10s",
            action=TriggerAction(kind=action, target=COMPONENT),
            rule_hash="3f2a9c",
        )
        return "triggers", _event(data, f"{trigger_id}/{kind}/{number}", now, trigger_id)

    def journal(self, kind: Any, **more: Any) -> Written:
        number, now = self._next(), datetime.now(UTC)
        data = RollbackEvent(
            kind=kind,
            execution_id=EXECUTION,
            sequence=number,
            component=COMPONENT,
            at=now,
            playbook=COMPONENT,
            plan_hash="9d1c",
            playbook_mode="auto",
            mode="planned",
            epoch=1,
            requested_by=self.incident_id,
            reason=str(kind),
            **more,
        )
        return "rollbacks", _event(data, f"{EXECUTION}/{number}", now, self.incident_id)

    def delivery(self, about: str, receiver: str) -> Written:
        number, now = self._next(), datetime.now(UTC)
        delivery_id = f"{self.incident_id}/{receiver}/{about}/{number}"
        data = DeliveryEvent(
            kind="delivered",
            delivery_id=delivery_id,
            incident_id=self.incident_id,
            execution_id=EXECUTION,
            component=COMPONENT,
            receiver=receiver,
            tier="immediate",
            channel="slack",
            about=about,
            template=about,
            attempts=1,
            at=now,
            due=now + timedelta(seconds=60),
        )
        return "notifications", _event(data, f"{delivery_id}/delivered", now, self.incident_id)

    def opening(self) -> list[Written]:
        told = [self.delivery("rollback_initiated", receiver) for receiver in RECEIVERS]
        return [self.trigger("fired"), self.journal("started", progress=0), *told]

    def ending(self) -> list[Written]:
        """All that the incident's close waits for."""
        told = [self.delivery("rollback_completed", receiver) for receiver in RECEIVERS]
        return [
            self.journal("completed", status="Success", progress=100),
            self.trigger("resolved"),
            *told,
        ]

    def _next(self) -> int:
        self.number += 1
        return self.number


def _event(data: KindedData, event_id: str, at: datetime, correlation: str) -> AnyEvent:
    return make_event(
        data, event_id=event_id, source=_SOURCE, time=at, subject=COMPONENT, correlationid=correlation
    )


class Flow:
    """Writes them. ``aborted`` are the ids of the events whose transaction was aborted."""

    def __init__(self, kafka: Kafka, *, seed: int) -> None:
        self._kafka = kafka
        self._chance = random.Random(seed)  # noqa: S311 - paces, not secrets
        self.events = IncidentEvents()
        self.aborted: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Open the incident, go on until ``stop``, then write what lets it close."""
        in_transactions = self._kafka.producer(transactional_id=self._kafka.group("torture"))
        async with self._kafka.producer() as plain, in_transactions as transactional:
            await self._write(plain, self.events.opening())
            while not stop.is_set():
                await self._chance.choice((self._burst, self._walk))(plain)
                await self._transaction(transactional)
                await self._write(plain, [self.events.journal("step_started"), self._unrelated()])
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._chance.uniform(*_PAUSE_S))
            await self._write(plain, self.events.ending())

    async def _burst(self, plain: Producer) -> None:
        await self._write(plain, [self._progress() for _ in range(self._chance.randint(*_BURST))])

    async def _walk(self, plain: Producer) -> None:
        for _ in range(self._chance.randint(*_STEPS)):
            await self._write(plain, [self._progress()])
            await asyncio.sleep(self._chance.uniform(*_STEP_S))

    async def _transaction(self, transactional: Producer) -> None:
        makers: tuple[Callable[[], Written], ...] = (
            lambda: self.events.trigger("firing"),
            lambda: self.events.journal("step_completed"),
            self._progress,
            self._unrelated,
        )
        chosen = [self._chance.choice(makers)() for _ in range(self._chance.randint(1, 6))]
        aborts = self._chance.random() < _ABORTED
        if aborts:
            self.aborted |= {event.id for _, event in chosen}
        with contextlib.suppress(_Abort):
            async with transactional.transaction():
                await self._write(transactional, chosen)
                if aborts:
                    raise _Abort

    def _progress(self) -> Written:
        return self.events.delivery("progress", self._chance.choice(RECEIVERS))

    def _unrelated(self) -> Written:
        return self.events.trigger("firing", action="notify")

    async def _write(self, producer: Producer, written: list[Written]) -> None:
        """In their order on each topic."""
        async with producer.acknowledged() as posted:
            for topic, event in written:
                key = event.subject.encode()
                posted.append(await producer.post(self._kafka.topic(topic), event.to_bytes(), key=key))
