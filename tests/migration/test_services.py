"""The services' migrations: each builds its schema from nothing, once, and keeps to its own place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chassis.postgres import Pool, migrate, migrations_of, open_pool
from chassis.settings import Settings

SERVICES = ("executor", "notifier", "analyzer")
READABLE = "backout"
"""The schema of the views that the command line reads."""


def package(service: str) -> str:
    return f"services.{service}.adapters.migrations"


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    async with open_pool(settings, "test") as opened:
        yield opened


async def tables_by_schema(pool: Pool) -> dict[str, set[str]]:
    rows = await pool.fetch(
        "SELECT table_schema, table_name, table_type FROM information_schema.tables "
        "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
    )
    found: dict[str, set[str]] = {}
    for row in rows:
        kind = "view" if row["table_type"] == "VIEW" else "table"
        found.setdefault(row["table_schema"], set()).add(f"{kind} {row['table_name']}")
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_numbers_follow_each_other(service: str) -> None:
    names = [migration.name for migration in migrations_of(package(service))]
    assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
    assert names


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_builds_its_schema_once_and_keeps_to_it(pool: Pool, service: str) -> None:
    applied = await migrate(pool, service, package(service))
    assert applied == [migration.name for migration in migrations_of(package(service))]
    assert await migrate(pool, service, package(service)) == []
    found = await tables_by_schema(pool)
    assert set(found) <= {service, READABLE}
    assert len(found[service]) >= 2
    assert all(name.startswith("view ") for name in found.get(READABLE, set()))


async def test_all_services_may_start_at_once_on_an_empty_database(pool: Pool) -> None:
    await asyncio.gather(*(migrate(pool, name, package(name)) for name in (*SERVICES, *SERVICES)))
    found = await tables_by_schema(pool)
    assert set(found) == {*SERVICES, READABLE}
    for service in SERVICES:
        rows = await pool.fetch(f'SELECT name FROM "{service}".migrations ORDER BY name')  # noqa: S608
        assert [row["name"] for row in rows] == [item.name for item in migrations_of(package(service))]


async def test_every_view_of_the_command_line_can_be_read(pool: Pool) -> None:
    for service in SERVICES:
        await migrate(pool, service, package(service))
    views = {name.removeprefix("view ") for name in (await tables_by_schema(pool))[READABLE]}
    assert {"executions", "deliveries", "incidents"} <= views
    for view in views:
        assert await pool.fetch(f'SELECT * FROM "{READABLE}"."{view}"') is not None  # noqa: S608
