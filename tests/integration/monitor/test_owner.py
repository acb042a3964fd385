"""Owning a partition: fencing, silence, changed definitions, and topics that do not fit."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from chassis.clock import SystemClock
from chassis.errors import Fenced
from chassis.failpoints import Failpoints
from chassis.kafka import Kafka
from chassis.settings import Settings
from services.monitor.adapters.heartbeat_events import HeartbeatEvents
from services.monitor.adapters.partition_log import KafkaPartitionLog, read_memory
from services.monitor.adapters.trigger_events import TriggerEvents
from services.monitor.domain.engine.memory import Checkpoint
from services.monitor.domain.language.targets import Targets
from services.monitor.handlers.ports import Decided
from tests.integration.conftest import Backout
from tests.integration.monitor.monitor_process import running_monitor
from tests.integration.monitor.stage import Stage, configure, sample
from tests.polling import eventually

ONE_RULE = "triggers: [{{name: slow, metric: ms, when: '> {threshold}', staleness: 3s}}]\n"


async def _open(kafka: Kafka) -> KafkaPartitionLog:
    return await KafkaPartitionLog.open(
        kafka,
        0,
        events=TriggerEvents(Targets(), kafka.topic("metrics")),
        heartbeats=HeartbeatEvents("test", partitions=4, within_s=5.0),
        tracing=None,
        clock=SystemClock(),
        failpoints=Failpoints(),
        dead_letter_limit=10,
    )


def _decided(next_offset: int) -> Decided:
    checkpoint = Checkpoint(100, 5, next_offset, 0, 102.0, 102.0, "hash", 4)
    return Decided(states={b"state/a/b": None}, checkpoint=checkpoint)


@pytest.mark.usefixtures("unretrieved_futures_are_silent")
async def test_a_former_owner_can_write_nothing(stage: Stage) -> None:
    former = await _open(stage.kafka)
    await former.write(_decided(1))
    owner = await _open(stage.kafka)
    with pytest.raises(Fenced):
        await former.write(_decided(2))
    await former.close()
    await owner.write(_decided(3))
    await owner.close()
    checkpoint = (await read_memory(stage.kafka, 0)).checkpoint
    assert checkpoint is not None
    assert checkpoint.next_offset == 3


async def test_time_passes_on_a_silent_partition(stage: Stage, settings: Settings) -> None:
    """One breaching sample of a while ago, then silence: its own time goes on from there."""
    configure(stage.directory, ONE_RULE.format(threshold=100))
    began = int(time.time()) - 500
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish([("c", sample("ms", "c", 500, began))])

        async def is_silent() -> bool:
            return [told.data.kind for told in await stage.told()] == ["fired", "no_data"]

        await eventually(is_silent, what="the firing trigger is reported as without data")
        assert await monitor.stop() == 0, monitor.log
    fired, silent = (told.data for told in await stage.told())
    assert fired.at.timestamp() == began
    assert silent.at.timestamp() == began + 3
    assert silent.value is None
    assert silent.trigger_id == fired.trigger_id


async def test_a_changed_definition_supersedes_and_starts_inactive(stage: Stage, settings: Settings) -> None:
    began = int(time.time()) - 500
    configure(stage.directory, ONE_RULE.format(threshold=100))
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish([("c", sample("ms", "c", 500, began + at)) for at in range(10)])
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    configure(stage.directory, ONE_RULE.format(threshold=200))
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish([("c", sample("ms", "c", 500, began + at)) for at in range(10, 20)])
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    told = [event.data for event in await stage.told() if event.data.kind in ("fired", "superseded")]
    assert [(data.kind, data.threshold) for data in told] == [
        ("fired", 100.0),
        ("superseded", 100.0),
        ("fired", 200.0),
    ]
    first, superseded, second = told
    assert superseded.trigger_id == first.trigger_id
    assert second.trigger_id != first.trigger_id
    assert second.began >= superseded.at


async def test_missing_topics_are_named(kafka: Kafka, settings: Settings, tmp_path: Path) -> None:
    directory = configure(tmp_path / "config")
    with running_monitor(settings, directory) as monitor:
        assert await monitor.ended() == 2
        assert f"{kafka.topic('metrics')}: there is no such topic" in monitor.log
        assert "backout topics init" in monitor.log
        assert "Traceback" not in monitor.log


async def test_a_backtest_from_the_topic_by_the_command(stage: Stage, backout: Backout) -> None:
    configure(stage.directory, ONE_RULE.format(threshold=100))
    began = int(time.time()) - 500
    await stage.publish([("c", sample("ms", "c", 500 if at < 5 else 50, began + at)) for at in range(10)])
    rules = str(stage.directory / "rollback" / "triggers.yml")
    ran = backout(
        "triggers", "backtest", "--from-topic", "--rules", rules, BACKOUT_CONFIG_DIR=str(stage.directory)
    )
    assert ran.status == 0, ran.err
    transitions = [json.loads(line) for line in ran.out.splitlines()]
    assert [(entry["from"], entry["to"]) for entry in transitions] == [
        ("inactive", "firing"),
        ("firing", "inactive"),
    ]
    assert "10 samples" in ran.err


async def test_states_that_do_not_fit_the_topic_stop_the_monitor(stage: Stage, settings: Settings) -> None:
    """The client only logs what its listener raises: the monitor has to end by itself."""
    for checkpoint, words in (
        (Checkpoint(100, 5, 6, 0, 102.0, 102.0, "hash", 9), "were written for 9 partitions"),
        (Checkpoint(100, 5, 6, 0, 102.0, 102.0, "hash", 4), "beyond the topic's end"),
    ):
        owner = await _open(stage.kafka)
        await owner.write(Decided(checkpoint=checkpoint))
        await owner.close()
        with running_monitor(settings, stage.directory) as monitor:
            assert await monitor.ended() == 1
            assert words in monitor.log
            assert "Traceback" not in monitor.log
