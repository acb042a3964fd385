"""Which triggers the executor forgets: those that nobody will decide about again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from chassis.postgres import Pool, migrate, open_pool
from chassis.pruning import Pruned
from chassis.settings import Settings
from services.executor.adapters.pruning import OldTriggers
from services.executor.main import MIGRATIONS, SCHEMA

KEEP = timedelta(days=45)
INSERT = """
INSERT INTO executor.triggers (trigger_id, target, announced_at, decided_at, settled_by, over, over_at)
VALUES ($1, 'c', now() - $2::interval, now() - $3::interval, $4,
        CASE WHEN $5::interval IS NOT NULL THEN 'resolved' END, now() - $5::interval)
"""
EXECUTION = """
INSERT INTO executor.executions (execution_id, component, requested_by, asked_by, cause_id, incident_id, mode,
    heeds_pause, reason, playbook, plan_hash, state, status, created_at, ended_at)
SELECT $1, $1, 't', 'trigger', 'e', 't', 'planned', true, 'r', '{}', 'h', $2,
       CASE $2 WHEN 'ended' THEN 'Success' END, now(), CASE $2 WHEN 'ended' THEN now() END
"""
OLD, NEW = timedelta(days=46), timedelta(days=44)


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    async with open_pool(settings, "test") as opened:
        await migrate(opened, SCHEMA, MIGRATIONS)
        yield opened


@pytest.mark.parametrize(
    ("announced", "decided", "settled_by", "over", "goes"),
    [
        (OLD, OLD, None, None, True),
        (OLD, OLD, None, OLD, True),
        (OLD, OLD, None, NEW, False),
        (NEW, NEW, None, None, False),
        (OLD, None, None, None, False),
        (OLD, timedelta(days=47), None, None, False),
        (None, None, None, OLD, True),
        (OLD, OLD, "ended", OLD, True),
        (OLD, OLD, "ended", None, False),
        (OLD, OLD, "ended", timedelta(days=47), False),
        (OLD, OLD, "running", OLD, False),
        (OLD, OLD, "held", OLD, False),
    ],
    ids=[
        "refused",
        "refused and over",
        "over since not so long",
        "announced not so long ago",
        "never decided",
        "announced again since it was decided",
        "only its end is known",
        "rolled back and over",
        "rolled back and perhaps firing",
        "rolled back, over, and firing again",
        "its rollback runs",
        "its rollback is held",
    ],
)
async def test_what_is_forgotten(
    pool: Pool,
    announced: timedelta | None,
    decided: timedelta | None,
    settled_by: str | None,
    over: timedelta | None,
    goes: bool,
) -> None:
    await pool.execute(INSERT, "t", announced, decided, settled_by, over)
    if settled_by is not None:
        await pool.execute(EXECUTION, settled_by, settled_by)
    async with pool.acquire() as connection:
        assert await OldTriggers().prune(connection, KEEP, 10) == Pruned(int(goes), more=False)
    assert await pool.fetchval("SELECT count(*) FROM executor.triggers") == int(not goes)
