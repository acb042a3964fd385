"""Migrations apply once, in order, whoever runs them, and cannot be changed afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from chassis.errors import ConfigError, DependencyUnavailable, PermanentError
from chassis.postgres import Pool, migrate, migrations_of, open_pool
from chassis.settings import PostgresSettings, Settings
from tests.integration.chassis.parts import write_package

FLOWERS = "CREATE TABLE garden.flowers (name text)"


@pytest.fixture(autouse=True)
def _packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))


async def columns(pool: Pool, table: str) -> list[str]:
    rows = await pool.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'garden' "
        "AND table_name = $1 ORDER BY ordinal_position",
        table,
    )
    return [row["column_name"] for row in rows]


async def test_they_apply_in_order_and_once(pool: Pool, tmp_path: Path) -> None:
    package = write_package(
        tmp_path,
        "garden_in_order",
        m0002_colour="ALTER TABLE garden.flowers ADD COLUMN colour text",
        m0001_flowers=FLOWERS,
        notes="this is no migration, and no SQL",
    )
    assert await migrate(pool, "garden", package) == ["0001_flowers.sql", "0002_colour.sql"]
    assert await migrate(pool, "garden", package) == []
    assert await columns(pool, "flowers") == ["name", "colour"]
    write_package(tmp_path, package, m0003_trees="CREATE TABLE garden.trees (name text)")
    assert await migrate(pool, "garden", package) == ["0003_trees.sql"]


async def test_many_at_once_apply_each_once(pool: Pool, tmp_path: Path) -> None:
    package = write_package(tmp_path, "garden_at_once", m0001_flowers=FLOWERS)
    applied = await asyncio.gather(*(migrate(pool, "garden", package) for _ in range(4)))
    assert sorted(applied) == [[], [], [], ["0001_flowers.sql"]]


async def test_one_may_take_longer_than_a_command_and_others_wait_for_it(
    settings: Settings, tmp_path: Path
) -> None:
    slow = f"{FLOWERS}; SELECT pg_sleep(1.5)"
    package = write_package(tmp_path, "garden_that_takes_time", m0001_flowers=slow)
    postgres = settings.postgres.model_copy(update={"command_timeout_s": 0.5})
    async with open_pool(settings.model_copy(update={"postgres": postgres}), "test") as hasty:
        applied = await asyncio.gather(*(migrate(hasty, "garden", package) for _ in range(2)))
        assert sorted(applied) == [[], ["0001_flowers.sql"]]
        with pytest.raises(TimeoutError):
            await hasty.execute("SELECT pg_sleep(1.5)")
        async with hasty.acquire() as connection:
            assert await connection.fetchval("SHOW transaction_timeout") == "500ms"


async def test_one_that_fails_leaves_nothing_behind(pool: Pool, tmp_path: Path) -> None:
    package = write_package(
        tmp_path,
        "garden_that_fails",
        m0001_flowers=FLOWERS,
        m0002_wrong="CREATE TABLE garden.trees (name no_such_type)",
    )
    with pytest.raises(asyncpg.UndefinedObjectError):
        await migrate(pool, "garden", package)
    assert await columns(pool, "flowers") == []


async def test_one_that_was_applied_must_not_change(pool: Pool, tmp_path: Path) -> None:
    package = write_package(tmp_path, "garden_changed", m0001_flowers=FLOWERS)
    await migrate(pool, "garden", package)
    write_package(tmp_path, package, m0001_flowers="CREATE TABLE garden.flowers (name text, colour text)")
    with pytest.raises(PermanentError, match=r"garden_changed/0001_flowers\.sql .* add a new migration"):
        await migrate(pool, "garden", package)


def test_a_checksum_is_of_the_text(tmp_path: Path) -> None:
    package = write_package(
        tmp_path, "garden_sums", m0001_a="SELECT 1", m0002_b="SELECT 1", m0003_c="SELECT 2"
    )
    first, second, third = migrations_of(package)
    assert first.checksum == second.checksum != third.checksum


def with_dsn(settings: Settings, dsn: str) -> Settings:
    return settings.model_copy(update={"postgres": PostgresSettings.model_validate({"dsn": dsn})})


async def test_a_wrong_database_password_or_address_is_named_at_once(settings: Settings) -> None:
    dsn = settings.postgres_dsn
    user, _, rest = dsn.removeprefix("postgresql://").partition(":")
    password, _, place = rest.partition("@")
    wrong = [
        dsn.replace(place, place.rpartition("/")[0] + "/no_such_database"),
        dsn.replace(password, "not-the-password"),
        f"mysql://{user}@{place}",
    ]
    for address in wrong:
        with pytest.raises(ConfigError, match=r"^BACKOUT_POSTGRES__DSN: ") as caught:
            async with open_pool(with_dsn(settings, address), "test"):
                pass
        assert password not in str(caught.value)


async def test_a_server_that_does_not_answer_is_waited_for_and_then_named(
    settings: Settings, unused_tcp_port: int
) -> None:
    nobody = f"postgresql://backout:x@127.0.0.1:{unused_tcp_port}/backout"
    with pytest.raises(DependencyUnavailable, match=r"no answer from Postgres within 0\.3 s"):
        async with open_pool(with_dsn(settings, nobody), "test", timeout_s=0.3):
            pass
