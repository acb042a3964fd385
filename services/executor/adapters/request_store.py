"""What the executor knows of the requests: triggers as they stand, the pause, the components.

Everything here runs in the transaction of a decision; the locks it takes make two executors
decide one after the other.
"""

from __future__ import annotations

import json
from datetime import datetime

import asyncpg

from chassis.postgres import Connection, Pool
from schemas.triggers import TriggerEvent
from services.executor.adapters import queries
from services.executor.domain.requests import KnownTrigger, Live, PlaybookFacts, TriggerFacts, World
from services.executor.domain.templates import storable, storable_text


class RequestStore:
    """Reads and writes the tables of requests. Its methods take the decision's connection."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def note(
        self, connection: Connection, event_id: str, trigger: TriggerEvent, traceparent: str | None
    ) -> None:
        """Keep what a trigger's event tells, unless something newer (by T) is known."""
        if trigger.kind in ("fired", "firing", "no_data"):
            await connection.execute(
                queries.NOTE_ANNOUNCED,
                trigger.trigger_id,
                trigger.action.target,
                trigger.at,
                event_id,
                json.dumps(storable(trigger.model_dump(mode="json"))),
                None if traceparent is None else storable_text(traceparent),
            )
        elif trigger.kind in ("resolved", "superseded"):
            await connection.execute(
                queries.NOTE_OVER, trigger.trigger_id, trigger.action.target, trigger.kind, trigger.at
            )

    async def due(self) -> list[str]:
        """The triggers with an announcement that was not decided, oldest first."""
        return [row["trigger_id"] for row in await self._pool.fetch(queries.TRIGGERS_TO_DECIDE)]

    async def lock(self, connection: Connection, trigger_id: str) -> KnownTrigger | None:
        """The trigger, if it is still to be decided; nobody else decides it meanwhile."""
        row = await connection.fetchrow(queries.LOCK_TRIGGER, trigger_id)
        return None if row is None else _known(row)

    async def wants(self, execution_id: str) -> list[KnownTrigger]:
        """The triggers that wait for an execution; none where a command waits for it, too."""
        if await self._pool.fetchval(queries.COMMAND_ABSORBED, execution_id):
            return []
        rows = await self._pool.fetch(queries.TRIGGERS_SETTLED_BY, execution_id)
        return [_known(row) for row in rows]

    async def decided(
        self, connection: Connection, trigger_id: str, *, settled_by: str | None, announced: str | None
    ) -> None:
        """The newest announcement was decided; ``announced`` is the reason announced now, if one was."""
        await connection.execute(queries.TRIGGER_DECIDED, trigger_id, settled_by, announced)

    async def live(self, connection: Connection, component: str, *, lock: bool = False) -> Live | None:
        """The live execution; with ``lock`` it does not end before this transaction does."""
        row = await connection.fetchrow(queries.LOCK_LIVE if lock else queries.READ_LIVE, component)
        return None if row is None else Live(row["execution_id"], row["incident_id"])

    async def world(self, connection: Connection, component: str, playbook: PlaybookFacts | None) -> World:
        """How things stand for a component; a pause waits until the decision is written."""
        control = await connection.fetchrow(queries.LOCK_CONTROL)
        live = await self.live(connection, component)
        ended: datetime | None = await connection.fetchval(queries.LAST_ENDED, component)
        assert control is not None  # noqa: S101 - the migration puts the one row there
        return World(
            playbook=playbook,
            running=live.execution_id if live else None,
            last_ended=ended,
            paused=control["paused"],
            paused_why=control["reason"],
        )

    async def set_paused(
        self, connection: Connection, *, paused: bool, reason: str, by: str, at: datetime
    ) -> None:
        await connection.execute(queries.SET_PAUSED, paused, reason, by, at)

    async def ignore_pause(self, connection: Connection, execution_id: str) -> None:
        """A person's emergency: the pause no longer holds this execution."""
        await connection.execute(queries.IGNORE_PAUSE, execution_id)

    async def pause_holds(self, execution_id: str) -> str | None:
        """Why the execution has to wait between two steps now, or None."""
        row = await self._pool.fetchrow(queries.PAUSE_HOLDS, execution_id)
        return None if row is None else row["reason"] or "rollbacks are paused"


def _known(row: asyncpg.Record) -> KnownTrigger:
    event = TriggerEvent.model_validate_json(row["event"])
    facts = TriggerFacts(
        trigger=event.trigger,
        action=event.action.kind,
        target=event.action.target,
        announced_at=row["announced_at"],
        over=row["over"],
        immediate=event.immediate,
        settled_by=row["settled_by"],
    )
    return KnownTrigger(
        event, row["event_id"], facts, frozenset(row["announced"]), row["declined"], row["traceparent"]
    )
