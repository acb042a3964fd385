"""Leases: one owner a component, told apart from its predecessors by an epoch that only rises.

A process that was frozen does not know that it was: whoever writes to the journal shows its
epoch, and whoever acts shows it to the target. ``still_held`` says, without asking anybody,
whether the lease can have passed to somebody else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import structlog

from chassis.clock import Clock
from chassis.errors import Fenced
from chassis.postgres import UNAVAILABLE, Connection, Pool
from services.executor.adapters import queries

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Lease:
    """A claim on a component; ``expires`` in seconds of the clock's monotonic count."""

    component: str
    owner: str
    epoch: int
    expires: float
    lost: asyncio.Event = field(default_factory=asyncio.Event)


class Leases:
    """Takes, renews and gives back leases for one owner (one life of one process)."""

    def __init__(self, pool: Pool, clock: Clock, *, owner: str, seconds: float) -> None:
        self._pool = pool
        self._clock = clock
        self.owner = owner
        self.seconds = seconds

    @contextlib.asynccontextmanager
    async def hold(self, component: str) -> AsyncIterator[Lease | None]:
        """The component's lease, renewed while it is held and given back after; None where another
        owner has it."""
        began = self._clock.monotonic()
        epoch = await self._pool.fetchval(queries.TAKE_LEASE, component, self.owner, self.seconds)
        if epoch is None:
            yield None
            return
        lease = Lease(component, self.owner, epoch, began + self.seconds)
        renewal = asyncio.create_task(self._renew(lease), name=f"lease {component}")
        try:
            yield lease
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            with contextlib.suppress(*UNAVAILABLE):
                await self._pool.execute(queries.RELEASE_LEASE, component, self.owner, epoch)

    def still_held(self, lease: Lease) -> bool:
        """Whether nobody else can have taken over by now."""
        return not lease.lost.is_set() and self._clock.monotonic() < lease.expires

    async def check(self, connection: Connection, lease: Lease) -> None:
        """Raise Fenced unless this owner has the component; it keeps it until the transaction ends."""
        held = await connection.fetchval(queries.CHECK_LEASE, lease.component, lease.owner, lease.epoch)
        if held is None:
            lease.lost.set()
            raise Fenced(f"another executor has taken {lease.component} over since epoch {lease.epoch}")

    async def _renew(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(self.seconds / 3)
            began = self._clock.monotonic()
            try:
                epoch = await self._pool.fetchval(
                    queries.RENEW_LEASE, lease.component, lease.owner, lease.epoch, self.seconds
                )
            except UNAVAILABLE as error:
                log.warning("lease not renewed", component=lease.component, error=str(error))
                continue
            if epoch is None:
                log.warning("lease lost", component=lease.component, epoch=lease.epoch)
                lease.lost.set()
                return
            lease.expires = began + self.seconds


@dataclass(frozen=True, slots=True)
class BoundLease:
    """One held lease, by itself."""

    leases: Leases
    lease: Lease

    @property
    def epoch(self) -> int:
        return self.lease.epoch

    def still_held(self) -> bool:
        return self.leases.still_held(self.lease)
