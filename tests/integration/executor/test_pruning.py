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


DAYS_47 = timedelta(days=47)
# What: announced, decided, the execution that settled it, over, whether it is forgotten.
CASES: dict[str, tuple[timedelta | None, timedelta | None, str | None, timedelta | None, bool]] = {
    "refused": (OLD, OLD, None, None, True),
    "refused and over": (OLD, OLD, None, OLD, True),
    "over since not so long": (OLD, OLD, None, NEW, False),
    "announced not so long ago": (NEW, NEW, None, None, False),
    "never decided": (OLD, None, None, None, False),
    "announced again since it was decided": (OLD, DAYS_47, None, None, False),
    "only its end is known": (None, None, None, OLD, True),
    "rolled back and over": (OLD, OLD, "ended", OLD, True),
    "rolled back and perhaps firing": (OLD, OLD, "ended", None, False),
    "rolled back, over, and firing again": (OLD, OLD, "ended", DAYS_47, False),
    "its rollback runs": (OLD, OLD, "running", OLD, False),
    "its rollback is held": (OLD, OLD, "held", OLD, False),
}


async def test_what_is_forgotten(pool: Pool) -> None:
    for state in ("ended", "running", "held"):
        await pool.execute(EXECUTION, state, state)
    for name, (announced, decided, settled_by, over, _) in CASES.items():
        await pool.execute(INSERT, name, announced, decided, settled_by, over)
    wanted = {name for name, case in CASES.items() if not case[-1]}
    async with pool.acquire() as connection:
        assert await OldTriggers().prune(connection, KEEP, 3) == Pruned(3, more=True)
        assert await OldTriggers().prune(connection, KEEP, 3) == Pruned(1, more=False)
    rows = await pool.fetch("SELECT trigger_id FROM executor.triggers")
    assert {row["trigger_id"] for row in rows} == wanted
