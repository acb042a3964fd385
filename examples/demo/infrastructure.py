"""The Kafka and the Postgres of the demo: the given ones, or embedded ones of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from chassis.embedded.kafka import EmbeddedKafka
from chassis.embedded.postgres import EmbeddedPostgres
from chassis.embedded.process_group import ProcessGroup
from chassis.embedded.progress import Progress, no_progress


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """Where the two servers are. ``admin_dsn`` may create databases."""

    bootstrap_servers: str
    admin_dsn: str

    def dsn(self, database: str) -> str:
        """The address of one database on that server."""
        parts = urlsplit(self.admin_dsn)
        return urlunsplit(parts._replace(path=f"/{database}"))

    async def create_database(self, name: str) -> str:
        """Make a database where there is none of that name; its address."""
        connection = await asyncpg.connect(self.admin_dsn)
        try:
            with contextlib.suppress(asyncpg.DuplicateDatabaseError):
                await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return self.dsn(name)


@contextlib.asynccontextmanager
async def embedded_infrastructure(
    state_dir: Path, cache_dir: Path, group: ProcessGroup, on_progress: Progress = no_progress
) -> AsyncIterator[Infrastructure]:
    """Start both servers in ``group``, with their data under ``state_dir``."""
    async with contextlib.AsyncExitStack() as stack:
        postgres = EmbeddedPostgres(state_dir / "postgres", group=group, on_progress=on_progress)
        await stack.enter_async_context(postgres)
        kafka = EmbeddedKafka(state_dir / "kafka", cache_dir=cache_dir, group=group, on_progress=on_progress)
        await stack.enter_async_context(kafka)
        yield Infrastructure(kafka.bootstrap_servers, postgres.dsn())
