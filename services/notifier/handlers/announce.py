"""An event of a rollback comes in: record what it causes, in one transaction, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import cast

import structlog

from chassis.clock import Clock
from chassis.consume import Received
from chassis.errors import Unreadable
from chassis.failpoints import Failpoints
from schemas.envelope import Event
from schemas.rollbacks import RollbackEvent
from services.notifier.domain.announcements import Delivery, deliveries_for
from services.notifier.domain.plan import CommunicationPlan, Receiver
from services.notifier.handlers.patience import once_there
from services.notifier.handlers.ports import Journal

log = structlog.get_logger(__name__)


class Announcer:
    """Turns rollback events into recorded deliveries."""

    def __init__(
        self,
        journal: Journal,
        plan: CommunicationPlan,
        receivers: Mapping[str, Receiver],
        *,
        max_age: timedelta,
        clock: Clock,
        failpoints: Failpoints,
        recorded: Callable[[Delivery], None],
        stop: asyncio.Event,
    ) -> None:
        self._journal = journal
        self._plan = plan
        self._receivers = receivers
        self._max_age = max_age
        self._clock = clock
        self._failpoints = failpoints
        self._recorded = recorded
        self._stop = stop

    async def handle(self, item: Received) -> None:
        """Record the deliveries of one event. Raises Unreadable for an event of no rollback.

        A database that is away is waited for: the record stays unacknowledged meanwhile.
        """
        if not isinstance(item.event.data, RollbackEvent):
            raise Unreadable("unexpected_type", f"{item.event.type} does not belong on this topic")
        event = cast("Event[RollbackEvent]", item.event)
        deliveries = deliveries_for(
            event, self._plan, self._receivers, now=self._clock.now(), max_age=self._max_age
        )
        recorded = await once_there(lambda: self._journal.record(item, deliveries), self._stop)
        self._failpoints.reach("notifier.after-record")
        for delivery in recorded or ():
            self._recorded(delivery)
