"""A process that is frozen within a transaction gives back what it has locked."""

from __future__ import annotations

import asyncio

import pytest

from chassis.postgres import UNAVAILABLE, Pool, open_pool
from chassis.settings import Settings


async def test_an_abandoned_transaction_is_ended(pool: Pool, settings: Settings) -> None:
    """To the server a frozen client and one that says nothing are the same."""
    await pool.execute("CREATE TABLE leases AS SELECT 1 AS epoch")
    async with open_pool(settings, "heir") as heirs, pool.acquire() as frozen:
        abandoned = frozen.transaction()
        await abandoned.start()
        await frozen.execute("UPDATE leases SET epoch = 2")

        async with asyncio.timeout(15):
            assert await heirs.fetchval("UPDATE leases SET epoch = epoch + 1 RETURNING epoch") == 2
        with pytest.raises(UNAVAILABLE):
            await frozen.execute("UPDATE leases SET epoch = 3")
    assert await pool.fetchval("SELECT epoch FROM leases") == 2
