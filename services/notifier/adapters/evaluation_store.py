"""What is known of the monitor's partitions, in Postgres beside the deliveries that it leads to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import TypeAdapter

from chassis.postgres import Pool
from services.notifier.adapters import queries
from services.notifier.adapters.journal import PostgresJournal
from services.notifier.domain.announcements import Delivery
from services.notifier.domain.evaluation import Evaluation
from services.notifier.handlers.watch_evaluation import Decide

_KNOWN = TypeAdapter(Evaluation)


class PostgresEvaluation:
    """One document; whoever decides on it holds its row."""

    def __init__(self, pool: Pool, journal: PostgresJournal) -> None:
        self._pool = pool
        self._journal = journal

    async def read(self) -> tuple[Evaluation, datetime]:
        """What is known, and the database's time."""
        row = await self._pool.fetchrow(queries.EVALUATION)
        if row is None:
            raise LookupError("notifier.evaluation has lost its row")
        return _KNOWN.validate_json(row["known"]), row["now"]

    async def update(self, decide: Decide) -> Sequence[Delivery]:
        """Decide and keep, in one transaction; the deliveries that were not recorded before."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(queries.LOCKED_EVALUATION)
            if row is None:
                raise LookupError("notifier.evaluation has lost its row")
            before = _KNOWN.validate_json(row["known"])
            known, deliveries = decide(before, row["now"])
            if known != before:
                await connection.execute(queries.KEEP_EVALUATION, _KNOWN.dump_json(known).decode())
            return await self._journal.record_within(connection, deliveries)
