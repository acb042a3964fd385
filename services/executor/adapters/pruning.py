"""Triggers that are over, and that nobody will decide about again, are forgotten some time later.

What an execution was is never forgotten: its row and its journal stay, and its id, which comes from the
trigger, is what keeps a trigger that is heard of once more from beginning it a second time.
"""

from __future__ import annotations

from datetime import timedelta

from chassis.postgres import Connection
from chassis.pruning import Pruned
from services.executor.adapters import queries


class OldTriggers:
    """The triggers of the executor."""

    table = "executor.triggers"

    async def prepare(self) -> None:
        """All there is to know of them is in the database."""

    async def prune(self, connection: Connection, keep: timedelta, limit: int) -> Pruned:
        rows = await connection.fetchval(queries.PRUNE_TRIGGERS, keep, limit)
        return Pruned(rows, more=rows == limit)
