"""The analyzer of a test, and the topics it reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis.kafka import Kafka
from chassis.settings import Settings
from tests.integration.analyzer.stage import Analyzers, Topics


@pytest.fixture
def analyzers(settings: Settings, topics: None, tmp_path: Path) -> Iterator[Analyzers]:  # noqa: ARG001 - they exist first
    """Starts analyzers that work in this test's namespace and database."""
    made = Analyzers(settings, tmp_path)
    yield made
    made.end()


@pytest.fixture
def log(kafka: Kafka) -> Topics:
    """The log of this test's namespace."""
    return Topics(kafka)
