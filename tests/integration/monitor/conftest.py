"""A stage for each test: topics, a configuration directory and a producer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.kafka import Kafka
from tests.integration.monitor.stage import Stage, configure


@pytest.fixture
async def stage(kafka: Kafka, topics: None, tmp_path: Path) -> AsyncIterator[Stage]:  # noqa: ARG001
    directory = configure(tmp_path / "config")
    async with kafka.producer(linger_ms=5) as producer:
        yield Stage(kafka, producer, directory)
