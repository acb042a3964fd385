"""A stage for each test: topics, a configuration directory and a producer."""

from __future__ import annotations

import asyncio
import gc
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


@pytest.fixture
async def unretrieved_futures_are_silent() -> AsyncIterator[None]:
    """aiokafka never looks at some futures of a producer that was fenced; they are collected here,
    where nobody logs them, and not in the middle of another test."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, _context: None)
    yield
    gc.collect()
    loop.set_exception_handler(None)
