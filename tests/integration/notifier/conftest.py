"""The receivers and the notifier of a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis.kafka import Kafka
from chassis.settings import Settings
from tests.integration.notifier.stage import Notifiers, Receivers, Rollback


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[Receivers]:
    """Slack, Statuspage and SMTP on this machine."""
    made = Receivers(tmp_path / "receivers")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def notifiers(
    settings: Settings,
    topics: None,  # noqa: ARG001 - they must be there first
    receivers: Receivers,
    tmp_path: Path,
) -> Iterator[Notifiers]:
    """Starts notifiers that are told of these receivers."""
    made = Notifiers(settings, receivers.variables(), tmp_path)
    yield made
    made.end()


@pytest.fixture
def rollback(kafka: Kafka) -> Rollback:
    """An execution whose events the test writes."""
    return Rollback(kafka)
