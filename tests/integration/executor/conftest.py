"""The target and the executors of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.kafka import Kafka
from chassis.settings import Settings
from tests.integration.executor.stage import Executors
from tests.integration.executor.target import Target


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """A system with a control API, the bad release in charge."""
    made = Target()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def executors(
    settings: Settings,
    kafka: Kafka,
    topics: None,  # noqa: ARG001 - they have to be there
    target: Target,
    tmp_path: Path,
) -> AsyncIterator[Executors]:
    """Starts executors over the playbook of the component ``extractor``."""
    made = Executors(settings, kafka, target, tmp_path)
    made.playbook()
    yield made
    made.end()
