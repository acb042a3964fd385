"""Which deliveries the notifier forgets: those of an incident that ended long ago, all together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from chassis.postgres import Pool, migrate, open_pool
from chassis.pruning import Pruned
from chassis.settings import Settings
from services.notifier.adapters.journal import MIGRATIONS, SCHEMA
from services.notifier.adapters.pruning import OldDeliveries

KEEP = timedelta(days=45)
INSERT = """
INSERT INTO notifier.deliveries (delivery_id, incident_id, execution_id, component, event_id, receiver, tier,
    channel, addresses, lane, about, template, message, caused_at, due, state, settled_at)
VALUES ($1 || '/' || $3, $1, $2, 'c', 'e', 'r', 'immediate', 'slack', '{a}', $1 || '/slack/a', $3, '', '{}',
    now(), now(), CASE WHEN $4::interval IS NULL THEN 'pending' ELSE 'delivered' END, now() - $4::interval)
"""
LANE = (
    "INSERT INTO notifier.lanes (lane, remote_id, place, event_id) VALUES ($1 || '/slack/a', 'm', 'p', 'e')"
)
LEFT = "SELECT coalesce(array_agg(DISTINCT incident_id ORDER BY incident_id), '{}') FROM notifier.deliveries"
LANES = "SELECT coalesce(array_agg(lane ORDER BY lane), '{}') FROM notifier.lanes"


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    async with open_pool(settings, "test") as opened:
        await migrate(opened, SCHEMA, MIGRATIONS)
        yield opened


async def deliver(pool: Pool, incident: str, **ages_in_days: float | None) -> None:
    """Deliveries of an incident by what they are about, settled so many days ago; None: not yet."""
    await pool.execute(LANE, incident)
    for about, days in ages_in_days.items():
        age = None if days is None else timedelta(days=days)
        await pool.execute(INSERT, incident, f"rb-{incident}", about, age)


async def prune(pool: Pool, one: OldDeliveries, limit: int = 100) -> Pruned:
    async with pool.acquire() as connection, connection.transaction():
        return await one.prune(connection, KEEP, limit)


async def test_an_incident_goes_as_a_whole_and_only_once_it_is_over(pool: Pool) -> None:
    await deliver(pool, "over", rollback_initiated=90, progress=89, rollback_failed=88)
    await deliver(pool, "called-off", rollback_initiated=90, rollback_called_off=88)
    await deliver(pool, "refused", rollback_refused=50)
    await deliver(pool, "monitor", evaluation_stopped=50, evaluation_resumed=50)
    await deliver(pool, "held", rollback_initiated=90, progress=88)
    await deliver(pool, "silent", evaluation_stopped=50)
    await deliver(pool, "recent", rollback_initiated=46, rollback_completed=44)
    await deliver(pool, "open", rollback_initiated=90, rollback_completed=89, escalation_required=None)

    assert await prune(pool, OldDeliveries()) == Pruned(8, more=False)
    left = ["held", "open", "recent", "silent"]
    assert await pool.fetchval(LEFT) == left
    assert await pool.fetchval(LANES) == [f"{name}/slack/a" for name in left]


async def test_another_execution_of_the_incident_that_has_not_ended_keeps_it(pool: Pool) -> None:
    await deliver(pool, "one", rollback_initiated=90, rollback_failed=89)
    await pool.execute(
        INSERT.replace("$1 || '/' || $3", "$1 || '/second'"),
        *("one", "rb-two", "rollback_initiated", timedelta(days=88)),
    )
    assert await prune(pool, OldDeliveries()) == Pruned(0, more=False)


async def test_what_may_not_go_is_in_the_way_of_nothing(pool: Pool) -> None:
    for number in range(6):
        await deliver(pool, f"held-{number}", rollback_initiated=90 - number)
    await deliver(pool, "over", rollback_initiated=50, rollback_completed=50)
    one, rows = OldDeliveries(), 0
    await one.prepare()
    while (portion := await prune(pool, one, limit=2)).more:
        rows += portion.rows
    assert rows + portion.rows == 2
    assert "over" not in await pool.fetchval(LEFT)
