"""Taking requests in: each event once, and what follows from it, in one transaction.

A trigger is only noted when it is read; it is decided about when its topic has been read to the
end, since the next record may say that it is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from chassis.clock import Clock
from chassis.consume import Received
from chassis.errors import DependencyUnavailable, NotAssigned, Unreadable
from chassis.failpoints import Failpoints
from chassis.inbox import Inbox, Novelty
from chassis.kafka import TopicPartition
from chassis.postgres import UNAVAILABLE, Connection, Pool
from schemas.commands import (
    FULL_SYSTEM,
    CloseIncidentCommand,
    Command,
    PauseCommand,
    ResumeCommand,
    RollbackCommand,
)
from schemas.triggers import GroupOverflow, TriggerEvent
from services.executor.domain.execution import Draft, RequestEntry
from services.executor.domain.requests import Gates, Reason, expiry
from services.executor.domain.templates import storable_text
from services.executor.handlers.ports import RequestJournal, Requests
from services.executor.handlers.request_desk import RequestDesk

log = structlog.get_logger(__name__)
_RETRY_S = 0.5


class Position(Protocol):
    """Where a consumer stands. ``position`` raises NotAssigned for a partition that a rebalance has
    just taken away, ``end_offsets`` DependencyUnavailable where the broker does not answer."""

    def assignment(self) -> frozenset[TopicPartition]: ...
    async def position(self, partition: TopicPartition) -> int: ...
    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]: ...


async def until_available(work: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Do the work; while the database does not answer, try again. A stop ends it with the error."""
    while True:
        try:
            await work()
        except UNAVAILABLE as error:
            if stop.is_set():
                raise
            log.warning("waiting for the database", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(_RETRY_S)
        else:
            return


async def _take(inbox: Inbox, connection: Connection, item: Received) -> bool:
    """Whether the event is new. Raises Unreadable where its id was used for something else."""
    novelty = await inbox.take(connection, item)
    if novelty is Novelty.CONFLICT:
        raise Unreadable("id_reused", f"the id {item.event.id} was used before with another body")
    return novelty is Novelty.NEW


class TriggerIntake:
    """Notes triggers, and decides about them once the topic has been read to its end."""

    def __init__(
        self,
        pool: Pool,
        inbox: Inbox,
        requests: Requests,
        desk: RequestDesk,
        failpoints: Failpoints,
        *,
        accepted: Callable[[], None],
        read_to_end: asyncio.Event,
        stop: asyncio.Event,
    ) -> None:
        self._pool = pool
        self._inbox = inbox
        self._requests = requests
        self._desk = desk
        self._failpoints = failpoints
        self._accepted = accepted
        self._read_to_end = read_to_end
        self._stop = stop
        self._noted = False
        self._assigned: frozenset[TopicPartition] = frozenset()

    async def handle(self, item: Received) -> None:
        """Note one event. Raises Unreadable for what is no trigger."""
        trigger = item.event.data
        if isinstance(trigger, GroupOverflow):
            # It asks for nothing: people are told by the monitor's metrics.
            return
        if not isinstance(trigger, TriggerEvent):
            raise Unreadable("unexpected_type", f"{item.event.type} is no trigger")

        async def note() -> None:
            async with self._pool.acquire() as connection, connection.transaction():
                if await _take(self._inbox, connection, item):
                    await self._requests.note(connection, item.event.id, trigger, item.event.traceparent)

        await until_available(note, self._stop)
        self._noted = True

    async def decide(self, position: Position) -> None:
        """Decide about what was noted, if everything there is has been read."""
        assigned = position.assignment()
        if assigned != self._assigned:
            # A former owner may have noted what it did not live to decide about.
            self._assigned, self._noted = assigned, bool(assigned)
        if not self._noted or self._stop.is_set():
            return
        try:
            if not await _at_end(position):
                return
        except DependencyUnavailable as error:
            # The next poll asks again; nothing is decided on half of the log.
            log.warning("the end of the triggers is not known", error=str(error))
            return
        except NotAssigned as error:
            # Moved between two of our questions: whoever has the triggers now decides about them.
            log.info("the triggers were given to another executor", why=str(error))
            return
        self._noted = False
        if not self._read_to_end.is_set():
            self._read_to_end.set()
            self._accepted()
        await until_available(self._decide_all, self._stop)

    async def _decide_all(self) -> None:
        for trigger_id in await self._requests.due():
            async with self._pool.acquire() as connection, connection.transaction():
                reason = await self._desk.trigger(connection, trigger_id)
            self._failpoints.reach("executor.after-decision")
            log.info("trigger decided", trigger=trigger_id, reason=reason and reason.value)
            if reason is Reason.ACCEPTED:
                self._accepted()


async def _at_end(position: Position) -> bool:
    assigned = sorted(position.assignment())
    ends = await position.end_offsets(assigned)
    for part in assigned:
        if await position.position(part) < ends[part]:
            return False
    return True


class CommandIntake:
    """Takes commands in, each in the transaction of its effect."""

    def __init__(
        self,
        pool: Pool,
        inbox: Inbox,
        requests: Requests,
        journal: RequestJournal,
        desk: RequestDesk,
        gates: Gates,
        clock: Clock,
        failpoints: Failpoints,
        *,
        accepted: Callable[[], None],
        stop: asyncio.Event,
    ) -> None:
        self._pool = pool
        self._inbox = inbox
        self._requests = requests
        self._journal = journal
        self._desk = desk
        self._gates = gates
        self._clock = clock
        self._failpoints = failpoints
        self._accepted = accepted
        self._stop = stop

    async def handle(self, item: Received) -> None:
        """Carry one command out. Raises Unreadable for what is no command."""
        command = item.event.data
        if not isinstance(command, Command):
            raise Unreadable("unexpected_type", f"{item.event.type} is no command")
        if isinstance(command, CloseIncidentCommand):
            return

        async def take() -> None:
            async with self._pool.acquire() as connection, connection.transaction():
                if await _take(self._inbox, connection, item):
                    await self._carry_out(connection, item, command)

        await until_available(take, self._stop)
        self._failpoints.reach("executor.after-decision")
        self._accepted()

    async def _carry_out(self, connection: Connection, item: Received, command: Command) -> None:
        if isinstance(command, RollbackCommand):
            reason = await self._desk.command(connection, item.event.id, command)
            log.info("command decided", command=item.event.id, reason=reason.value)
        elif isinstance(command, PauseCommand | ResumeCommand):
            await self._switch(connection, item.event.id, command, paused=isinstance(command, PauseCommand))

    async def _switch(self, connection: Connection, event_id: str, command: Command, *, paused: bool) -> None:
        now = self._clock.now()
        expired = expiry(command, self._gates, now)
        if expired is not None:
            draft = Draft("refused", Reason.EXPIRED.value, expired)
        else:
            words = storable_text(command.reason) or f"asked for by {command.issued_by}"
            await self._requests.set_paused(
                connection, paused=paused, reason=words if paused else "", by=command.issued_by, at=now
            )
            draft = Draft("paused" if paused else "resumed", "commanded", words)
        entry = RequestEntry(event_id, FULL_SYSTEM, event_id, event_id, draft)
        await self._journal.note_request(connection, entry)
