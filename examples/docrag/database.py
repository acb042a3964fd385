"""The service's Postgres: its database and schema, made at start, and the connections to it.

Everything lies in the schema `docrag` of the database that the DSN names; the database is created if it is
missing and the server lets us.
"""

import asyncio
import logging
import time
from importlib import resources
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

import asyncpg

log = logging.getLogger(__name__)

CONNECT_PATIENCE_S = 30.0
RETRY_EVERY_S = 0.5

# Strings, since asyncpg's classes are generic for the type checker alone.
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)


class DatabaseUnavailable(Exception):
    """Postgres did not answer in time, or refused us. The message says which setting to look at."""


async def open_pool(dsn: str, patience_s: float = CONNECT_PATIENCE_S) -> Pool:
    """Connect, waiting for a server that is still starting, and bring the schema up to date.

    Raises DatabaseUnavailable.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            await _ensure_database(dsn)
            pool = await asyncpg.create_pool(dsn, min_size=1, max_size=8, command_timeout=30)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError) as error:
            if time.monotonic() >= deadline:
                raise DatabaseUnavailable(
                    f"Postgres did not answer within {patience_s:g} s ({error}); check --dsn or DOCRAG_DSN"
                ) from error
            log.info("waiting for postgres", extra={"error": str(error)})
            await asyncio.sleep(RETRY_EVERY_S)
            continue
        except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            raise DatabaseUnavailable(f"{error}; check --dsn or DOCRAG_DSN") from error
        async with pool.acquire() as connection:
            await connection.execute(schema_sql())
        return pool


async def _ensure_database(dsn: str) -> None:
    try:
        connection = await asyncpg.connect(dsn, timeout=10)
    except asyncpg.InvalidCatalogNameError:
        await _create_database(dsn)
    else:
        await connection.close()


async def _create_database(dsn: str) -> None:
    name = database_name(dsn)
    maintenance = await asyncpg.connect(dsn, database="postgres", timeout=10)
    try:
        await maintenance.execute(f"CREATE DATABASE {quoted(name)}")
        log.info("created the database", extra={"database": name})
    except asyncpg.DuplicateDatabaseError:
        log.info("another instance created the database", extra={"database": name})
    finally:
        await maintenance.close()


def database_name(dsn: str) -> str:
    """The database a postgresql:// address names. Raises DatabaseUnavailable if it names none."""
    name = unquote(urlsplit(dsn).path.lstrip("/"))
    if not name:
        raise DatabaseUnavailable("the DSN names no database; write postgresql://…/docrag")
    return name


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def schema_sql() -> str:
    """The statements that create what is missing."""
    return resources.files("examples.docrag").joinpath("schema.sql").read_text(encoding="utf-8")
