"""No event is lost where an analyzer is killed while they come: a short form of `make torture`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.torture_analyzer import Plan, Storm, analyzers
from chassis.embedded.process_group import ProcessGroup
from chassis.kafka import Kafka
from chassis.settings import Settings


async def test_killed_at_any_instant_while_events_come(
    settings: Settings,
    kafka: Kafka,
    topics: None,  # noqa: ARG001 - they must be there first
    tmp_path: Path,
) -> None:
    with ProcessGroup(tmp_path / "group") as group:
        fleet = analyzers(group, settings, tmp_path / "analyzers")
        outcome = await Storm(kafka, settings, fleet, Plan(kills=2, blind=0.0, with_other=False)).play()
    assert outcome.problems == []
    assert outcome.kills == 2
    assert outcome.aborted > 0
