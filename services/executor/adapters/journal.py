"""The journal: every entry is written with its event, under the lease, in one transaction.

What is announced is thus exactly what is journaled, in the same order; what is not journaled
did not happen as far as anybody else can know.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from chassis.clock import Clock
from chassis.errors import PermanentError
from chassis.outbox import Outbox
from chassis.postgres import Connection, Pool
from schemas.envelope import bounded_id, make_event
from schemas.rollbacks import RollbackEvent
from services.executor.adapters import queries
from services.executor.adapters.leases import Lease, Leases
from services.executor.domain.execution import (
    Draft,
    Entry,
    Execution,
    RequestEntry,
    Standing,
    StillWanted,
    as_entry,
)
from services.executor.domain.playbook import Playbook
from services.executor.domain.reading_back import read_back


class Journal:
    """Reads and appends. ``source`` is what the events name as their source."""

    def __init__(self, pool: Pool, outbox: Outbox, leases: Leases, clock: Clock, *, source: str) -> None:
        self._pool = pool
        self._outbox = outbox
        self._leases = leases
        self._clock = clock
        self._source = source

    async def read(self, execution_id: str) -> tuple[Execution, list[Entry], dict[str, float]]:
        """An execution, its entries, and the median duration in seconds of each of its component's
        steps. For the lease's holder: nobody else writes meanwhile.

        Raises PermanentError where there is none of that id, NotUnderstood as ``playbook_of`` does.
        """
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(queries.READ_EXECUTION, execution_id)
            if row is None:
                raise PermanentError(f"there is no execution {execution_id}")
            entries = await connection.fetch(queries.READ_JOURNAL, execution_id)
            durations = await connection.fetch(queries.USUAL_DURATIONS, row["component"])
        fields = {name: row[name] for name in Execution.__dataclass_fields__ if name != "playbook"}
        execution = Execution(playbook=read_back(Playbook, json.loads(row["playbook"])), **fields)
        usual_s = {item["step_id"]: float(item["seconds"]) for item in durations}
        return execution, [_entry(item) for item in entries], usual_s

    async def playbook_of(self, execution_id: str) -> Playbook | None:
        """The playbook that an execution was accepted with; None where there is no such execution.

        Raises NotUnderstood where a newer release wrote what this one does not know.
        """
        document = await self._pool.fetchval(queries.PLAYBOOK_OF, execution_id)
        return None if document is None else read_back(Playbook, json.loads(document))

    async def append(
        self,
        execution: Execution,
        lease: Lease,
        written: Sequence[tuple[Entry, Draft, Standing]],
        *,
        follow: Execution | None = None,
    ) -> None:
        """Append entries, with their events, and bring the execution's row up to the last of them.

        ``follow``, the execution of an ``on_failure``, begins in the same transaction, or joins the
        one that runs for its component. Raises Fenced where the lease is no longer ours.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await self._leases.check(connection, lease)
            if written[-1][2].state == "declined":
                await self._reopen_requests(connection, execution.execution_id)
            for entry, draft, standing in written:
                await self._write(connection, execution, entry, draft, standing)
            entry, _, standing = written[-1]
            await connection.execute(
                queries.UPDATE_EXECUTION,
                execution.execution_id,
                entry.sequence,
                standing.state,
                standing.status,
                standing.progress,
                standing.estimated_completion,
                entry.at if standing.state in ("ended", "declined") else None,
            )
            if follow is not None:
                await self._begin_or_join(connection, follow)

    async def _begin_or_join(self, connection: Connection, follow: Execution) -> None:
        """Begin an ``on_failure``, or have the live execution of its component absorb it."""
        while not await self.begin(connection, follow):
            # It may end between the two looks: then its place is free.
            live = await connection.fetchrow(queries.LOCK_LIVE, follow.component)
            if live is None:
                continue
            draft = Draft(
                "absorbed",
                "absorbed",
                f"{live['execution_id']} is running for {follow.component}: {follow.reason}",
                memory={"into": live["execution_id"], "asked_by": follow.asked_by},
            )
            entry = RequestEntry(
                follow.requested_by,
                follow.component,
                live["incident_id"],
                follow.cause_id,
                draft,
                follow.traceparent,
            )
            await self.note_request(connection, entry)
            if not follow.heeds_pause:
                await connection.execute(queries.IGNORE_PAUSE, live["execution_id"])
            return

    async def _reopen_requests(self, connection: Connection, execution_id: str) -> None:
        """What an execution that is declined had absorbed is not lost with it."""
        await connection.execute(queries.LOCK_EXECUTION, execution_id)
        if await connection.fetchval(queries.COMMAND_ABSORBED, execution_id):
            raise StillWanted
        await connection.execute(queries.REOPEN_TRIGGERS, execution_id)

    async def begin(self, connection: Connection, execution: Execution) -> bool:
        """Insert a live execution, in the transaction of what asks for it.

        True also where this very execution is there already; False where its component has another.
        """
        if await self._insert(connection, execution, "running", self._clock.now(), None):
            return True
        return await connection.fetchval(queries.COMPONENT_OF, execution.execution_id) is not None

    async def announce_plan(self, connection: Connection, execution: Execution, draft: Draft) -> None:
        """Journal an execution in shadow mode, which ends with its plan."""
        now = self._clock.now()
        if await self._insert(connection, execution, "planned", now, now):
            standing = Standing("planned", 0, None)
            await self._write(connection, execution, as_entry(draft, 1, now, None), draft, standing)

    async def note_request(self, connection: Connection, item: RequestEntry) -> None:
        """Journal what became of a request that led to no execution."""
        sequence = await connection.fetchval(queries.NEXT_SEQUENCE, item.request_id)
        now = self._clock.now()
        data = RollbackEvent(
            kind=item.draft.kind,
            execution_id=item.request_id,
            sequence=sequence,
            component=item.component,
            requested_by=item.request_id,
            reason=item.draft.reason,
            why=item.draft.why,
            at=now,
            into=item.draft.memory.get("into"),
        )
        await self._store(
            connection, data, item.draft, item.incident_id, item.cause_id, traceparent=item.traceparent
        )

    async def _insert(
        self,
        connection: Connection,
        execution: Execution,
        state: str,
        now: datetime,
        ended_at: datetime | None,
    ) -> bool:
        inserted = await connection.fetchval(
            queries.INSERT_EXECUTION,
            execution.execution_id,
            execution.component,
            execution.requested_by,
            execution.asked_by,
            execution.cause_id,
            execution.incident_id,
            execution.mode,
            execution.heeds_pause,
            execution.reason,
            execution.playbook.model_dump_json(),
            execution.plan_hash,
            state,
            now,
            ended_at,
            execution.traceparent,
        )
        return inserted is not None

    async def _write(
        self, connection: Connection, execution: Execution, entry: Entry, draft: Draft, standing: Standing
    ) -> None:
        data = RollbackEvent(
            kind=draft.kind,
            execution_id=execution.execution_id,
            sequence=entry.sequence,
            component=execution.component,
            requested_by=execution.requested_by,
            reason=draft.reason,
            why=draft.why,
            at=entry.at,
            playbook=execution.playbook.name,
            plan_hash=execution.plan_hash,
            playbook_mode=execution.playbook.mode,
            mode=execution.mode,
            epoch=entry.epoch,
            status=draft.status,
            progress=standing.progress,
            estimated_completion=standing.estimated_completion,
            step=draft.step,
            plan=draft.plan,
            checks=draft.checks,
        )
        before = f"{execution.execution_id}/{entry.sequence - 1}"
        cause = execution.cause_id if entry.sequence == 1 else before
        await self._store(
            connection, data, draft, execution.incident_id, cause, traceparent=execution.traceparent
        )

    async def _store(
        self,
        connection: Connection,
        data: RollbackEvent,
        draft: Draft,
        incident_id: str,
        cause_id: str,
        *,
        traceparent: str | None,
    ) -> None:
        event = make_event(
            data,
            event_id=bounded_id(f"{data.execution_id}/{data.sequence}"),
            source=self._source,
            time=data.at,
            subject=data.component,
            correlationid=incident_id,
            causationid=cause_id,
            traceparent=traceparent,
        )
        step = data.step
        await connection.execute(
            queries.APPEND_JOURNAL,
            data.execution_id,
            data.sequence,
            data.component,
            data.kind,
            data.reason,
            data.why,
            step.id if step else None,
            step.attempt if step else None,
            step.duration_s if step else None,
            data.epoch,
            data.at,
            data.model_dump_json(),
            json.dumps(dict(draft.memory)),
        )
        await self._outbox.put(connection, event)


@dataclass(frozen=True, slots=True)
class BoundJournal:
    """The journal, written under one lease."""

    journal: Journal
    lease: Lease

    async def append(
        self,
        execution: Execution,
        written: Sequence[tuple[Entry, Draft, Standing]],
        *,
        follow: Execution | None = None,
    ) -> None:
        await self.journal.append(execution, self.lease, written, follow=follow)


def _entry(row: asyncpg.Record) -> Entry:
    return Entry(
        sequence=row["sequence"],
        kind=row["kind"],
        at=row["at"],
        reason=row["reason"],
        why=row["why"],
        step_id=row["step_id"],
        attempt=row["attempt"] or 1,
        epoch=row["epoch"],
        memory=json.loads(row["memory"]),
    )
