"""Rows that nobody will ask for again are deleted, so that the tables do not grow for ever.

What may go is for the owner of a table to say (``Prunable``); when, and how much at once, is said here. A
portion is one short transaction that waits for no row and is waited for by nobody for longer than it
takes. Of several processes one prunes at a time. Where it fails, rows are kept for longer, which is all that
can come of it: no service ends for it, and nothing is pruned while there is something better to do.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter

from chassis.errors import TemporaryError
from chassis.lifecycle import until_set
from chassis.postgres import UNAVAILABLE, Connection, Pool

log = structlog.get_logger(__name__)
PORTION = 500
"""Rows of a portion: some milliseconds of work."""
_FIRST_AFTER_S = 60.0
_EVERY_S = 600.0
_BETWEEN_S = 0.2


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows a portion has deleted, and whether the next one may find some, too."""

    rows: int
    more: bool


class Prunable(Protocol):
    """A table with rows that are needed no longer, some time after they were written."""

    @property
    def table(self) -> str:
        """``schema.table``, for metrics."""
        ...

    async def prepare(self) -> None:
        """Ask others than the database, before a round: no transaction waits for them."""
        ...

    async def prune(self, connection: Connection, keep: timedelta, limit: int) -> Pruned:
        """Delete about ``limit`` rows that are older than ``keep`` by the database's time and needed no
        longer. Runs in a transaction of its own."""
        ...


class PruningMetrics:
    """What was pruned, and how often it failed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rows = Counter(
            "backout_pruned_rows", "Rows that were needed no longer, deleted.", ["table"], registry=registry
        )
        self.failures = Counter(
            "backout_pruning_failures", "Times that pruning was given up.", ["table"], registry=registry
        )


class Pruner:
    """Prunes the tables of one service every ten minutes, unless it is ``busy``."""

    def __init__(
        self,
        pool: Pool,
        schema: str,
        prunables: Sequence[Prunable],
        metrics: PruningMetrics,
        *,
        keep: timedelta,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pool = pool
        self._prunables = prunables
        self._metrics = metrics
        self._keep = keep
        self._busy = busy
        self._lock_id = zlib.crc32(f"{schema}.pruning".encode())
        for each in prunables:
            # A metric that appears with its first event cannot be missed before.
            metrics.rows.labels(each.table)

    async def run(
        self, stop: asyncio.Event, *, first_after_s: float = _FIRST_AFTER_S, every_s: float = _EVERY_S
    ) -> None:
        """Prune until ``stop`` is set."""
        await until_set(stop, timeout_s=first_after_s)
        while not stop.is_set():
            for each in self._prunables:
                await self._prune(each, stop)
            await until_set(stop, timeout_s=every_s)

    async def _prune(self, each: Prunable, stop: asyncio.Event) -> None:
        """All the portions of one table. What goes wrong is told, and tried again in the next round."""
        rows, more = 0, True
        try:
            await each.prepare()
            while more and not stop.is_set() and not self._busy():
                portion = await self._portion(each)
                rows, more = rows + portion.rows, portion.more
                await until_set(stop, timeout_s=_BETWEEN_S)
        except (*UNAVAILABLE, TemporaryError) as error:
            self._metrics.failures.labels(each.table).inc()
            log.warning("not pruned", table=each.table, error=f"{type(error).__name__}: {error}")
        except Exception:
            # A table that grows is no reason to end a service that may be needed at this moment.
            self._metrics.failures.labels(each.table).inc()
            log.exception("not pruned", table=each.table)
        if rows:
            log.info("pruned", table=each.table, rows=rows)

    async def _portion(self, each: Prunable) -> Pruned:
        async with self._pool.acquire() as connection, connection.transaction():
            # Held to the transaction's end: a process that is frozen in it loses it with its session.
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", self._lock_id):
                return Pruned(0, more=False)
            portion = await each.prune(connection, self._keep, PORTION)
        self._metrics.rows.labels(each.table).inc(portion.rows)
        return portion
