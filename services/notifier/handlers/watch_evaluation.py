"""Heartbeats come in, or do not: watch over the monitor, and record whom its silence has to be told.

What is known and what was announced is kept beside the deliveries, and changes with them in one
transaction: a restart forgets nothing, and tells nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from chassis.clock import Clock
from chassis.consume import Received
from chassis.errors import DependencyUnavailable, NotAssigned, Unreadable
from chassis.kafka import Consumer
from chassis.postgres import UNAVAILABLE
from schemas.heartbeats import Heartbeat
from services.notifier.domain.announcements import Delivery
from services.notifier.domain.evaluation import Announcement, Evaluation, hear, judge, not_evaluated
from services.notifier.domain.evaluation_messages import deliveries_of
from services.notifier.domain.plan import CommunicationPlan, Receiver
from services.notifier.handlers.patience import once_there

log = structlog.get_logger(__name__)
Decide = Callable[[Evaluation, datetime], tuple[Evaluation, Sequence[Delivery]]]
_END_WAIT_S = 3.0


class EvaluationStore(Protocol):
    """What is known of the partitions; times are the store's own."""

    async def read(self) -> tuple[Evaluation, datetime]: ...

    async def update(self, decide: Decide) -> Sequence[Delivery]:
        """Decide on what is known, one at a time, and keep it with its deliveries; those that are new."""


class EvaluationWatch:
    """Listens to one consumer of the heartbeats topic, and judges while it owns the topic."""

    def __init__(
        self,
        store: EvaluationStore,
        consumer: Consumer,
        plan: CommunicationPlan,
        receivers: Mapping[str, Receiver],
        *,
        timeout: timedelta,
        clock: Clock,
        recorded: Callable[[Delivery], None],
        counted: Callable[[int], None],
        stop: asyncio.Event,
    ) -> None:
        self._store = store
        self._consumer = consumer
        self._plan = plan
        self._receivers = receivers
        self._timeout = timeout
        self._clock = clock
        self._recorded = recorded
        self._counted = counted
        self._stop = stop
        self._heard: list[Heartbeat] = []
        self._watching_since: datetime | None = None
        self._check_s = min(5.0, timeout.total_seconds() / 10)
        self._checked_at = -self._check_s

    async def handle(self, item: Received) -> None:
        """Note one heartbeat. Raises Unreadable for an event that is none."""
        if not isinstance(item.event.data, Heartbeat):
            raise Unreadable("unexpected_type", f"{item.event.type} does not belong on this topic")
        self._heard.append(item.event.data)

    async def after_batch(self) -> None:
        """Keep what was heard, and from time to time judge the silence. A database that is away is
        waited for: the heartbeats stay unacknowledged meanwhile."""
        if self._heard:
            await once_there(self._keep_heard, self._stop)
            self._heard.clear()
        if self._clock.monotonic() - self._checked_at >= self._check_s:
            try:
                await self._check()
            except UNAVAILABLE as error:
                log.warning("the database is away", error=str(error))
            self._checked_at = self._clock.monotonic()

    async def _keep_heard(self) -> None:
        await self._store.update(lambda known, now: (hear(known, self._heard, now), ()))

    async def _check(self) -> None:
        known, now = await self._store.read()
        self._counted(len(not_evaluated(known)))
        if not self._consumer.assignment():
            # Another notifier listens; what this one heard is too old to be judged.
            self._watching_since = None
            return
        since = self._watching_since = self._watching_since or now
        _, announcements = judge(known, now, timeout=self._timeout, watching_since=since)
        if not announcements:
            return
        kafka_answers = True
        if any(each.kind == "evaluation_stopped" for each in announcements):
            left = await self._left_to_read()
            if left:
                return
            kafka_answers = left is not None
        await self._announce(since, kafka_answers=kafka_answers)

    async def _left_to_read(self) -> int | None:
        """How many heartbeats are there that were not read yet: a notifier that was frozen itself has
        to hear them first. None: Kafka does not answer."""
        places = self._consumer.assignment()
        try:
            async with asyncio.timeout(_END_WAIT_S):
                ends = await self._consumer.end_offsets(places)
                return sum([max(0, ends[place] - await self._consumer.position(place)) for place in places])
        except (DependencyUnavailable, TimeoutError):
            return None
        except NotAssigned:
            return 1

    async def _announce(self, since: datetime, *, kafka_answers: bool) -> None:
        told: list[Announcement] = []

        def decide(known: Evaluation, now: datetime) -> tuple[Evaluation, Sequence[Delivery]]:
            known, announcements = judge(known, now, timeout=self._timeout, watching_since=since)
            told[:] = announcements
            return known, [
                delivery
                for each in announcements
                for delivery in deliveries_of(each, self._plan, self._receivers, kafka_answers=kafka_answers)
            ]

        recorded = await self._store.update(decide)
        for each in told:
            say = log.error if each.kind == "evaluation_stopped" else log.info
            say(each.kind.replace("_", " "), partitions=each.outage.partitions, outage=each.outage.outage_id)
        for delivery in recorded:
            self._recorded(delivery)
