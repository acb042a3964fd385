"""A pool on the test's database, with an inbox and an outbox in the schema ``parts``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.kafka import Kafka, Producer
from chassis.postgres import Pool, migrate, open_pool
from chassis.settings import Settings
from tests.integration.chassis.parts import SCHEMA, TABLES, write_package


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    async with open_pool(settings, "test") as opened:
        yield opened


@pytest.fixture
async def tables(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    package = write_package(tmp_path, f"parts_{tmp_path.name}".replace("-", "_"), m0001_tables=TABLES)
    await migrate(pool, SCHEMA, package)


@pytest.fixture
async def producer(kafka: Kafka, topics: None) -> AsyncIterator[Producer]:  # noqa: ARG001
    async with kafka.producer() as started:
        yield started
