"""Postgres: the pool, and migrations that each service keeps as numbered SQL files.

Every service has a schema of its own in the control plane's database and reads no other's
tables; what the CLI reads are views in the schema ``backout``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import asyncpg

from chassis.errors import ConfigError, DependencyUnavailable, PermanentError
from chassis.settings import Settings

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Connection = asyncpg.pool.PoolConnectionProxy

# The errors that say "not now": the server restarts, is stopped by an operator, or is full.
UNAVAILABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    # What asyncpg says when a connection is closed by the server while it lies idle in the pool.
    asyncpg.InternalClientError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncio.TimeoutError,
)
# A wrong address, password or database: waiting for it would hide the mistake for a minute.
_MISCONFIGURED = (
    ValueError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
_MIGRATION_LOCK = 0x6261636B6F7574
_MIGRATION_TIMEOUT_S = 3_600.0
"""An index on a large table takes longer to make than any other statement may, and so does waiting for it."""
_NO_TRANSACTION_TIMEOUT = """
SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'
"""
# A process that is frozen within a transaction keeps its session and every row it has locked: whoever
# takes its work over would wait for it for ever. No transaction of ours waits for anything but the
# database, so one that is silent for this long is abandoned, and the server ends it.
_ABANDONED_S = 5.0


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered SQL file; ``checksum`` is its sha256."""

    name: str
    sql: str
    checksum: str


@contextlib.asynccontextmanager
async def open_pool(settings: Settings, service: str, *, timeout_s: float = 60.0) -> AsyncIterator[Pool]:
    """A pool on the control plane's database, once it answers.

    A transaction that stays idle for 5 s, or goes on for longer than one command may, is ended by the
    server, and its next statement raises one of ``UNAVAILABLE``. Raises DependencyUnavailable after
    ``timeout_s``, ConfigError when no database is set or the address, the name or the password is wrong.
    """
    dsn = settings.postgres_dsn
    deadline = time.monotonic() + timeout_s
    # A server that takes connections and says nothing would be waited for by each attempt.
    connect_s = min(settings.postgres.command_timeout_s, timeout_s)
    while True:
        try:
            limits = await _transaction_limits(dsn, settings.postgres.command_timeout_s, connect_s)
            pool = await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=settings.postgres.pool_size,
                timeout=connect_s,
                command_timeout=settings.postgres.command_timeout_s,
                server_settings={"application_name": f"backout-{service}", "timezone": "UTC", **limits},
            )
            break
        except _MISCONFIGURED as error:
            raise ConfigError(
                problem_of(error),
                place="BACKOUT_POSTGRES__DSN",
                mend="Write postgresql://user:password@host:port/database of a database that exists, with "
                "signs such as / # ? @ in the password percent-encoded",
            ) from None
        except UNAVAILABLE as error:
            if time.monotonic() > deadline:
                raise DependencyUnavailable(
                    f"no answer from Postgres within {timeout_s:g} s: {problem_of(error)}"
                ) from error
        await asyncio.sleep(0.1)
    try:
        yield pool
    finally:
        # A connection that hangs must not hold the whole process at its end.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(pool.close(), timeout=5)
        pool.terminate()


def problem_of(error: BaseException) -> str:
    """What is wrong, in words. Of an address that cannot be read no part is quoted: where a sign of the
    password is not encoded, a part of the password would be."""
    if isinstance(error, ValueError):
        return "it is no address of a database"
    return str(error) or type(error).__name__


async def _transaction_limits(dsn: str, timeout_s: float, connect_s: float) -> dict[str, str]:
    """The server's settings that end the transactions of a frozen process.

    Between preparing a statement and executing it a session counts as active, not as idle: only
    ``transaction_timeout`` ends that one, and servers before 17 do not have it.
    """
    limits = {"idle_in_transaction_session_timeout": f"{_ABANDONED_S:g}s"}
    connection = await asyncpg.connect(dsn, timeout=connect_s)
    try:
        if connection.get_server_version().major >= 17:
            limits["transaction_timeout"] = f"{timeout_s * 1000:.0f}ms"
    finally:
        await connection.close(timeout=connect_s)
    return limits


def migrations_of(package: str) -> list[Migration]:
    """The ``NNNN_*.sql`` files of a package, in order."""
    found = []
    for entry in sorted(files(package).iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".sql") and entry.name[:4].isdigit():
            sql = entry.read_text(encoding="utf-8")
            found.append(Migration(entry.name, sql, hashlib.sha256(sql.encode()).hexdigest()))
    return found


async def migrate(pool: Pool, schema: str, package: str) -> list[str]:
    """Bring ``schema`` to the newest of the package's migrations; returns those applied now.

    Safe to run from several processes at once. Raises PermanentError if a migration that was
    applied has changed since.
    """
    applied = []
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_NO_TRANSACTION_TIMEOUT)
        await connection.execute(
            "SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK, timeout=_MIGRATION_TIMEOUT_S
        )
        await connection.execute(
            f'CREATE SCHEMA IF NOT EXISTS "{schema}"; CREATE SCHEMA IF NOT EXISTS backout;'
            f'CREATE TABLE IF NOT EXISTS "{schema}".migrations ('
            "name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        rows = await connection.fetch(f'SELECT name, checksum FROM "{schema}".migrations')  # noqa: S608
        known = {row["name"]: row["checksum"] for row in rows}
        for migration in migrations_of(package):
            if migration.name in known:
                if known[migration.name] != migration.checksum:
                    raise PermanentError(
                        f"{package}/{migration.name} was applied and has changed since: add a new migration"
                    )
                continue
            await connection.execute(migration.sql, timeout=_MIGRATION_TIMEOUT_S)
            await connection.execute(
                f'INSERT INTO "{schema}".migrations (name, checksum) VALUES ($1, $2)',  # noqa: S608
                migration.name,
                migration.checksum,
            )
            applied.append(migration.name)
    return applied
