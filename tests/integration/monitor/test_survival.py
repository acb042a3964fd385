"""The monitor survives kills, rebalances, and a broker that goes away: short forms of `make torture`."""

from __future__ import annotations

from pathlib import Path

from benchmarks import broker_leaders
from benchmarks.broker_outage import Outage, play, scene_in
from benchmarks.fleet import Fleet
from benchmarks.monitor_fleet import configure
from benchmarks.torture_monitor import Plan, storm
from chassis.embedded.process_group import ProcessGroup
from chassis.kafka import Kafka
from chassis.settings import Settings
from tests.conftest import CACHE_DIR


async def test_killed_at_any_instant_while_two_instances_come_and_go(
    settings: Settings,
    kafka: Kafka,
    topics: None,  # noqa: ARG001 - they must be there first
    tmp_path: Path,
) -> None:
    plan = Plan(kills=6, instances=("one", "two"), spacing_s=1.0, rate=2_000, seed=11)
    with ProcessGroup(tmp_path / "monitors") as group:
        fleet = Fleet(group, settings.kafka, configure(tmp_path / "config"))
        outcome = await storm(kafka, fleet, plan)
    assert outcome.problems == []
    assert outcome.kills == 6
    assert outcome.compared is not None
    assert outcome.compared.twice == 0
    assert outcome.compared.kinds >= {"fired", "resolved"}


async def test_a_broker_that_was_away_frozen_or_slow_is_gone_on_with(tmp_path: Path) -> None:
    """The monitor is one process throughout, and reports what it could not see as no data."""
    outages = [Outage("stopped", 2.0), Outage("frozen", 3.5), Outage("slow", 2.0)]
    async with scene_in(tmp_path, CACHE_DIR) as scene:
        assert await play(scene, outages) == []


async def test_a_partition_whose_leader_is_killed_is_evaluated_from_another(tmp_path: Path) -> None:
    """Of three brokers; what was told is what the log says, each once, and the gap is no data."""
    async with broker_leaders.scene_in(tmp_path, CACHE_DIR) as scene:
        outcome = await broker_leaders.play(scene, ["killed"], rate=1_000, seed=3)
    assert outcome.problems == []
    assert outcome.compared is not None
    assert outcome.compared.kinds >= {"fired", "resolved", "no_data"}
