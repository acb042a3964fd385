"""Taking an execution over that an executor of another release began."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from chassis.clock import SystemClock
from chassis.outbox import Outbox
from chassis.postgres import Pool, migrate, open_pool
from chassis.settings import Settings
from services.executor.adapters.executions import ExecutionStore
from services.executor.adapters.journal import Journal
from services.executor.adapters.leases import Leases
from services.executor.domain.reading_back import NotUnderstood
from services.executor.main import MIGRATIONS, SCHEMA
from tests.one_step import BOOK, EXECUTION


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    async with open_pool(settings, "test") as opened:
        await migrate(opened, SCHEMA, MIGRATIONS)
        yield opened


async def begun(pool: Pool, **step: Any) -> ExecutionStore:
    """The store, with an execution that somebody began whose steps have these fields, too."""
    leases = Leases(pool, SystemClock(), owner="one", seconds=10)
    journal = Journal(pool, Outbox(SCHEMA), leases, SystemClock(), source="/test")
    async with pool.acquire() as connection, connection.transaction():
        assert await journal.begin(connection, EXECUTION)
    document = json.loads(BOOK.model_dump_json())
    document["steps"][0].update(step)
    await pool.execute("UPDATE executor.executions SET playbook = $1", json.dumps(document))
    return ExecutionStore(pool, leases, journal)


async def test_what_says_nothing_new_is_taken_over(pool: Pool) -> None:
    store = await begun(pool, not_before=None, zones=[])
    async with store.take("rb-1") as held:
        assert held is not None
        assert held.execution.playbook == BOOK


async def test_what_this_release_does_not_know_is_left_untouched_for_one_that_does(pool: Pool) -> None:
    store = await begun(pool, not_before=datetime(2026, 1, 1, tzinfo=UTC).isoformat())
    expected = r"playbook_not_understood: steps\.0\.not_before is not known to this release"
    with pytest.raises(NotUnderstood, match=expected):
        async with store.take("rb-1"):
            pass
    assert await pool.fetchval("SELECT count(*) FROM executor.leases") == 0
    assert await store.orphans(triggers_read=True) == ["rb-1"]
