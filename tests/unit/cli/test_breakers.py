"""What ``backout breakers`` calls stale is what the client calls so by default."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from chassis.kafka import Record
from cli.breakers import Read
from services.monitor.adapters.breaker_events import alive_event, decision_event
from services.monitor.domain.breakers.breaker import Breaker
from services.monitor.domain.breakers.breakers import Decision
from tests.unit.monitor.test_partition import Fetched


@pytest.mark.parametrize(
    ("written_s_ago", "behind_s", "stale"),
    [(1, 2, False), (29, 2, False), (31, 2, True), (1, 119, False), (1, 121, True)],
)
def test_a_sign_of_life_counts_while_it_is_young_and_its_evaluation_near(
    written_s_ago: float, behind_s: float, stale: bool
) -> None:
    written = datetime.now(UTC) - timedelta(seconds=written_s_ago)
    opened = Decision(int(written.timestamp()), "c", "closed", Breaker("open"), "check_failed", 0.1)
    key, alive = alive_event(3, int((written - timedelta(seconds=behind_s)).timestamp()), written)
    read = Read()
    for name, value in ((b"c", decision_event(opened, 3, written).to_bytes()), (key, alive.to_bytes())):
        read.take(cast("Record", Fetched(0, value, key=name, timestamp=int(written.timestamp() * 1000))))
    assert read.is_stale(read.decisions["c"]) is stale
