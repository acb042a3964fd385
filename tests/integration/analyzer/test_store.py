"""What the store does where two things of an incident happen at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from chassis.consume import received
from chassis.errors import Fenced
from chassis.outbox import SentRows
from chassis.postgres import migrate, open_pool
from chassis.settings import Settings
from schemas.envelope import make_event
from schemas.registry import AnyEvent
from services.analyzer.adapters import queries
from services.analyzer.adapters.store import SCHEMA, Store
from services.analyzer.adapters.stream import StreamRecord
from services.analyzer.domain.closing import ClosingRules, assess
from services.analyzer.domain.facts import Fact, Place, fact_of
from services.analyzer.domain.incident import apply
from services.analyzer.main import MIGRATIONS
from tests.unit.analyzer.scenario import Scenario, closing_of, records_of

RULES = ClosingRules(settle=timedelta(seconds=1), close_after=timedelta(seconds=5))


def _record(topic: str, event: AnyEvent, offset: int = 0) -> StreamRecord:
    at = int(event.time.timestamp() * 1000)
    return StreamRecord(topic, 0, offset, at, event.subject.encode(), event.to_bytes(), ())


async def test_metrics_that_are_archived_while_the_incident_closes_are_no_addenda(settings: Settings) -> None:
    scenario = Scenario()
    fired = scenario.triggered("fired", 10)
    fact = fact_of(fired, Place(topic="backout.triggers.v1", partition=0, offset=0))
    assert fact is not None
    incident = apply({}, fact).incident
    records = records_of(scenario, {"triggers": [fired]})
    samples = [one for one in records if one.kind == "metrics"]
    closing = closing_of(scenario, [one for one in records if one not in samples[-5:]])
    closed = make_event(
        closing, event_id="closed", source="t", time=closing.at, subject="c", correlationid=incident.id
    )
    async with open_pool(settings, "analyzer") as pool:
        await migrate(pool, SCHEMA, MIGRATIONS)
        store = Store(pool)
        await store.take_over("one")
        item = received(_record("backout.triggers.v1", fired))
        await store.save(item, incident, assess(incident, closing.at, RULES), closing.at)
        await store.archive(incident.id, samples)
        assert await store.close(received(_record("backout.incidents.v1", closed)), closing, closing.at)

    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        row = await connection.fetchrow("SELECT status, addenda FROM backout.incidents")
        assert row is not None
        assert (row["status"], row["addenda"]) == ("closed", 0)
    finally:
        await connection.close()


async def test_the_opening_is_told_once_though_its_row_of_the_outbox_is_pruned(settings: Settings) -> None:
    scenario = Scenario()
    fired = scenario.triggered("fired", 10)
    incident, now = apply({}, _fact(fired, 0)).incident, scenario.at(31)
    async with open_pool(settings, "analyzer") as pool:
        await migrate(pool, SCHEMA, MIGRATIONS)
        store = Store(pool)
        await store.take_over("one")
        for offset, expected in ((0, 1), (1, 0)):
            item = received(_record("triggers", fired, offset))
            await store.save(item, incident, assess(incident, now, RULES), now)
            assert await pool.fetchval("SELECT count(*) FROM analyzer.outbox") == expected
            await pool.execute("UPDATE analyzer.outbox SET sent_at = now() - interval '46 days'")
            async with pool.acquire() as connection:
                await SentRows(SCHEMA).prune(connection, timedelta(days=45), 100)


async def test_who_has_been_taken_over_from_changes_nothing(settings: Settings) -> None:
    scenario = Scenario()
    fired, resolved = scenario.triggered("fired", 10), scenario.triggered("resolved", 30)
    first, second = received(_record("triggers", fired)), received(_record("triggers", resolved, 1))
    old = apply({}, _fact(fired, 0)).incident
    new = apply({old.id: old}, _fact(resolved, 1)).incident
    now = scenario.at(31)
    async with open_pool(settings, "analyzer") as pool:
        await migrate(pool, SCHEMA, MIGRATIONS)
        frozen, owner = Store(pool), Store(pool)
        with pytest.raises(Fenced):  # it has never taken over
            await frozen.save(first, old, assess(old, now, RULES), now)
        await frozen.take_over("one")
        await frozen.save(first, old, assess(old, now, RULES), now)
        await owner.take_over("two")
        await owner.save(second, new, assess(new, now, RULES), now)
        before = await _tables(settings)

        closing = closing_of(scenario, records_of(scenario, {"triggers": [fired]}))
        for attempt in (
            lambda: frozen.save(first, old, assess(old, now, RULES), now),
            lambda: frozen.save_progress("triggers", 0, 9),
            lambda: frozen.save_addendum(second, closing, now),
            lambda: frozen.close(second, closing, now),
            lambda: frozen.forget(old.id),
            lambda: frozen.note_waiting(old.id, assess(old, now, RULES)),
            lambda: frozen.announce(resolved),
        ):
            with pytest.raises(Fenced, match="another analyzer has taken over: it is epoch 2, not 1"):
                await attempt()

    assert await _tables(settings) == before


async def test_an_archived_event_that_is_unreadable_by_now_keeps_nobody_from_taking_over(
    settings: Settings,
) -> None:
    scenario = Scenario()
    fired = scenario.triggered("fired", 10)
    incident = apply({}, _fact(fired, 0)).incident
    now = scenario.at(31)
    async with open_pool(settings, "analyzer") as pool:
        await migrate(pool, SCHEMA, MIGRATIONS)
        store = Store(pool)
        await store.take_over("one")
        for offset in (0, 1):
            item = received(_record("triggers", fired, offset))
            await store.save(item, incident, assess(incident, now, RULES), now)
        await pool.execute("UPDATE analyzer.archive SET value = 'of an earlier release' WHERE \"offset\" = 0")
        assert [item.offset for item in await store.open_events()] == [1]


async def test_who_takes_over_waits_for_what_is_being_written(settings: Settings) -> None:
    async with open_pool(settings, "analyzer") as pool:
        await migrate(pool, SCHEMA, MIGRATIONS)
        writing, owner = Store(pool), Store(pool)
        await writing.take_over("one")
        async with writing._own_epoch() as connection:
            taking_over = asyncio.create_task(owner.take_over("two"))
            done, _ = await asyncio.wait({taking_over}, timeout=0.3)
            assert not done
            await connection.execute(queries.SAVE_PROGRESS, "triggers", 0, 5)
        await taking_over
        assert await owner.progress(["triggers"]) == {"triggers": 5}


def _fact(event: AnyEvent, offset: int) -> Fact:
    fact = fact_of(event, Place(topic="triggers", partition=0, offset=offset))
    assert fact is not None
    return fact


async def _tables(settings: Settings) -> dict[str, list[Any]]:
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        return {
            name: await connection.fetch(f"SELECT * FROM analyzer.{name} ORDER BY 1, 2")  # noqa: S608
            for name in ("incidents", "members", "archive", "progress", "addenda", "outbox")
        }
    finally:
        await connection.close()
