"""What the store does where two things of an incident happen at once."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from chassis.consume import received
from chassis.postgres import migrate, open_pool
from chassis.settings import Settings
from schemas.envelope import make_event
from schemas.registry import AnyEvent
from services.analyzer.adapters.store import SCHEMA, Store
from services.analyzer.adapters.stream import StreamRecord
from services.analyzer.domain.closing import ClosingRules, assess
from services.analyzer.domain.facts import Place, fact_of
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
