"""Deliveries of incidents that ended long ago are forgotten, all those of an incident at once.

Until then any of them may be needed: the last message of an incident edits the first, a mail answers the
one before, and a delivery that is known is not recorded again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from chassis.postgres import Connection
from chassis.pruning import Pruned
from services.notifier.adapters import queries
from services.notifier.domain.announcements import BEGINNINGS, ENDINGS

_START = (datetime(1970, 1, 1, tzinfo=UTC), 0)


class OldDeliveries:
    """The journal of deliveries, from the oldest on; incidents that may not go are passed over until the
    next round."""

    table = "notifier.deliveries"

    def __init__(self) -> None:
        self._after = _START

    async def prepare(self) -> None:
        self._after = _START

    async def prune(self, connection: Connection, keep: timedelta, limit: int) -> Pruned:
        settled = await connection.fetch(queries.SETTLED_LONG_AGO, keep, *self._after, limit)
        more = len(settled) == limit
        if settled:
            self._after = (settled[-1]["settled_at"], settled[-1]["position"])
        incidents = list({row["incident_id"] for row in settled})
        rows = await connection.fetchval(
            queries.PRUNE_DELIVERIES, incidents, keep, list(BEGINNINGS), list(ENDINGS)
        )
        return Pruned(rows, more)
