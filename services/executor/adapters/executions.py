"""Taking executions over: the lease first, then what the journal tells."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from chassis.postgres import Pool
from services.executor.adapters import queries
from services.executor.adapters.journal import BoundJournal, Journal
from services.executor.adapters.leases import BoundLease, Leases
from services.executor.domain.execution import Entry, Execution, ends_execution


@dataclass(frozen=True, slots=True)
class Held:
    """An execution in our hands."""

    execution: Execution
    entries: list[Entry]
    claim: BoundLease
    writer: BoundJournal
    usual_s: Mapping[str, float]


class ExecutionStore:
    """The live executions of the database, by their leases."""

    def __init__(self, pool: Pool, leases: Leases, journal: Journal) -> None:
        self._pool = pool
        self._leases = leases
        self._journal = journal

    @property
    def lease_s(self) -> float:
        return self._leases.seconds

    async def orphans(self, *, triggers_read: bool) -> list[str]:
        """Live executions that nobody works on; until the triggers were read to their end, without
        those that a trigger asked for and that have not begun."""
        return [row["execution_id"] for row in await self._pool.fetch(queries.ORPHANS, triggers_read)]

    @contextlib.asynccontextmanager
    async def take(self, execution_id: str) -> AsyncIterator[Held | None]:
        """Hold the execution; None where another owner has it, or it has ended.

        Raises NotUnderstood before anything is held: whoever can go on with it is not kept from it.
        """
        component = await self._pool.fetchval(queries.COMPONENT_OF, execution_id)
        if component is None or await self._journal.playbook_of(execution_id) is None:
            yield None
            return
        async with self._leases.hold(component) as lease:
            if lease is None:
                yield None
                return
            execution, entries, usual_s = await self._journal.read(execution_id)
            if entries and ends_execution(entries[-1].kind):
                yield None
                return
            writer = BoundJournal(self._journal, lease)
            yield Held(execution, entries, BoundLease(self._leases, lease), writer, usual_s)
