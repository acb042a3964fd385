"""Compound triggers on the real log: once, whatever dies; reports at once; live as in a backtest."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterable

import pytest

from chassis.clock import SystemClock
from chassis.errors import Fenced
from chassis.failpoints import Failpoints
from chassis.kafka import Kafka
from chassis.settings import Settings
from schemas.envelope import make_event
from schemas.reports import ReportEvent
from schemas.triggers import TriggerEvent
from services.monitor.adapters.compound_log import KafkaCompoundLog, read_stage_memory
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.topic_range import backtest_topic, topic_ends
from services.monitor.domain.compound.memory import StageCheckpoint, checkpoint_bytes, checkpoint_key
from services.monitor.domain.engine.outcomes import rfc3339
from services.monitor.handlers.compound import CompoundDecided
from services.monitor.handlers.compound_backtest import backtest_compounds
from tests.integration.conftest import Backout
from tests.integration.monitor.monitor_process import running_monitor
from tests.integration.monitor.stage import Stage, configure, sample
from tests.polling import eventually

RULES = """\
triggers:
  - {name: slow, metric: ms, when: "> 100", staleness: 60s, severity: critical}
compound_triggers:
  - {name: three, at_least: 3 components, window: 2m}
  - {name: corrupted, report: data_corruption, immediate: true}
  - {name: breached, report: security_breach}
"""
QUICK = {"BACKOUT_MONITOR__COMPOUND_LATENESS_S": "1"}
"""What comes later than that counts from when it comes: enough where seconds do not matter."""
COMPONENTS = ("a", "b", "c", "d")


async def compound(stage: Stage) -> list[TriggerEvent]:
    """What was told of compound triggers, in the order of the log."""
    return [told.data for told in await stage.told() if told.data.members]


async def until_told(stage: Stage, kind: str, trigger: str = "three", timeout_s: float = 30) -> None:
    async def is_told() -> bool:
        return any(data.kind == kind and data.trigger == trigger for data in await compound(stage))

    await eventually(is_told, what=f"{trigger} is {kind}", timeout_s=timeout_s)


async def until_members(stage: Stage, count: int, kind: str = "fired") -> None:
    async def are_told() -> bool:
        return len([t for t in await stage.told() if not t.data.members and t.data.kind == kind]) >= count

    await eventually(are_told, what=f"{count} members have {kind}")


def breaches(components: Iterable[str], began: int, until: int, value: int = 500) -> list[tuple[str, bytes]]:
    """A sample a second of each component."""
    return [(c, sample("ms", c, value, at)) for at in range(began, until) for c in components]


async def test_three_components_fire_once_and_as_a_backtest_says(stage: Stage, settings: Settings) -> None:
    """Records alone move time here: each announcement is on the log before one that makes it due."""
    configure(stage.directory, RULES)
    began = int(time.time()) - 600
    slow = {"BACKOUT_MONITOR__COMPOUND_LATENESS_S": "60"}
    with running_monitor(settings, stage.directory, environment=slow) as monitor:
        for second in range(len(COMPONENTS)):
            await stage.publish(breaches(COMPONENTS[: second + 1], began + second, began + second + 1))
        await stage.publish(breaches(COMPONENTS, began + len(COMPONENTS), began + 40))
        await until_members(stage, len(COMPONENTS))
        await stage.publish(breaches(COMPONENTS, began + 40, began + 50, value=50))
        await until_members(stage, len(COMPONENTS), "resolved")
        await stage.publish(breaches(["e"], began + 120, began + 121))
        await until_told(stage, "resolved")
        assert await monitor.stop() == 0, monitor.log
    fired, resolved = await compound(stage)
    assert [member.component for member in fired.members] == ["a", "b", "c"]
    assert {member.id for member in fired.members} <= {t.data.trigger_id for t in await stage.told()}
    assert (fired.component, fired.action.target, fired.value) == ("full_system", "full_system", 3.0)
    assert (int(fired.at.timestamp()), int(fired.began.timestamp())) == (began + 2, began)
    assert resolved.trigger_id == fired.trigger_id
    config = load_config(stage.directory)
    found = await backtest_topic(
        stage.kafka,
        config.rules,
        allowed_lateness=2.0,
        on_unread=lambda _place, _unread: None,
        ranges=await topic_ends(stage.kafka),
    )
    assert [(o.trigger_id, o.kind, o.at) for o in backtest_compounds(config.compounds, found)] == [
        (data.trigger_id, data.kind, int(data.at.timestamp())) for data in (fired, resolved)
    ]


@pytest.mark.parametrize(
    "failpoint",
    [
        "compound.before-commit=kill@1",
        "compound.before-commit=kill@2",
        "compound.after-commit=kill@2",
    ],
)
async def test_a_killed_monitor_tells_it_once(stage: Stage, settings: Settings, failpoint: str) -> None:
    """The events of three components are there; the second stage dies around its own transactions."""
    configure(stage.directory, RULES)
    began = int(time.time()) - 300
    await stage.publish(breaches(COMPONENTS[:3], began, began + 20))
    with running_monitor(
        settings, stage.directory, environment={**QUICK, "BACKOUT_FAILPOINTS": failpoint}
    ) as killed:
        assert await killed.ended() == -signal.SIGKILL
    with running_monitor(settings, stage.directory, environment=QUICK) as monitor:
        await until_told(stage, "fired")
        await stage.publish(breaches(COMPONENTS[:3], began + 20, began + 40, value=50))
        await until_told(stage, "resolved")
        assert await monitor.stop() == 0, monitor.log
    fired, resolved = await compound(stage)
    assert (fired.kind, resolved.kind) == ("fired", "resolved")
    assert fired.trigger_id == resolved.trigger_id
    assert [member.component for member in fired.members] == ["a", "b", "c"]
    assert int(fired.began.timestamp()) == began


async def test_members_are_remembered_over_a_restart(stage: Stage, settings: Settings) -> None:
    configure(stage.directory, RULES)
    began = int(time.time()) - 300
    with running_monitor(settings, stage.directory, environment=QUICK) as first:
        await stage.publish(breaches(COMPONENTS[:2], began, began + 20))

        async def is_kept() -> bool:
            return len((await read_stage_memory(stage.kafka, "triggers")).members) == 2

        await eventually(is_kept, what="both members are in the states")
        first.signal(signal.SIGKILL)
        await first.ended()
    with running_monitor(settings, stage.directory, environment=QUICK) as second:
        await stage.publish(breaches(["c"], began + 20, began + 30))
        await until_told(stage, "fired")
        assert await second.stop() == 0, second.log
    (fired,) = await compound(stage)
    assert [member.component for member in fired.members] == ["a", "b", "c"]


async def test_a_report_fires_at_once_and_once(stage: Stage, settings: Settings, backout: Backout) -> None:
    configure(stage.directory, RULES)
    with running_monitor(settings, stage.directory) as monitor:
        await monitor.ready()
        ran = await asyncio.to_thread(
            backout, "report", "--data-corruption", "--component", "vectors", "--reason", "17 differ",
            "--by", "ops", "-o", "json",
        )  # fmt: skip
        assert ran.status == 0, ran.err
        reported = json.loads(ran.out)
        await until_told(stage, "fired", "corrupted", timeout_s=5)
        # The same report again, and another of the same kind: neither begins anything.
        (record,) = await stage.records("reports")
        await stage.producer.send(record.topic, record.value, key=record.key)
        await stage.producer.send(record.topic, report_bytes("another"), key=b"vectors")
        await stage.producer.send(record.topic, report_bytes("tomorrow", ahead=86_400), key=b"vectors")
        await stage.producer.send(record.topic, b'{"kind": "data_corruption"}', key=b"vectors")
        # One that was reported eleven minutes ago is told, and over.
        await stage.producer.send(
            record.topic, report_bytes("old", ahead=-660, kind="security_breach"), key=b"a"
        )
        await until_told(stage, "superseded", "breached")

        async def is_set_aside() -> bool:
            return len(await stage.dead_letters()) == 2

        await eventually(is_set_aside, what="what is no report is a dead letter")
        assert await monitor.stop() == 0, monitor.log
    fired, *old = [data for data in await compound(stage) if data.kind != "firing"]
    assert [(data.trigger, data.kind) for data in old] == [("breached", "fired"), ("breached", "superseded")]
    (member,) = fired.members
    assert (member.id, member.component) == (reported["report_id"], "vectors")
    assert fired.immediate
    assert "ops reported data corruption of vectors" in fired.why
    assert "17 differ" in fired.why
    reasons = [place.reason for place, _ in await stage.dead_letters()]
    assert reasons == ["from_the_future", "not_an_event"]
    (kept,) = (await read_stage_memory(stage.kafka, "reports")).report_episodes
    assert kept.count == 2
    rules = str(stage.directory / "rollback" / "triggers.yml")
    ran = await asyncio.to_thread(backout, "triggers", "backtest", "--rules", rules, "--from-topic")
    assert ran.status == 0, ran.err
    backtested = [json.loads(line) for line in ran.out.splitlines()]
    live = sorted([fired, *old], key=lambda data: data.at)
    assert [(each["id"], each["to"], each["at"], each["reason"]) for each in backtested] == [
        (
            data.trigger_id,
            "firing" if data.kind == "fired" else "inactive",
            rfc3339(int(data.at.timestamp())),
            data.reason,
        )
        for data in live
    ]
    assert "report at offset 3: from_the_future" in ran.err
    assert "report at offset 4: not_an_event" in ran.err
    future = str(time.time() + 3_600)
    ran = await asyncio.to_thread(
        backout, "triggers", "backtest", "--rules", rules, "--from-topic", "--since", future
    )
    assert (ran.status, ran.out) == (0, ""), ran.err


async def test_a_removed_compound_trigger_is_superseded(stage: Stage, settings: Settings) -> None:
    configure(stage.directory, RULES)
    began = int(time.time()) - 300
    await stage.publish(breaches(COMPONENTS[:3], began, began + 20))
    with running_monitor(settings, stage.directory, environment=QUICK) as monitor:
        await until_told(stage, "fired")
        assert await monitor.stop() == 0, monitor.log
    configure(stage.directory, RULES.split("compound_triggers", maxsplit=1)[0])
    with running_monitor(settings, stage.directory, environment=QUICK) as monitor:
        await until_told(stage, "superseded")
        assert await monitor.stop() == 0, monitor.log
    assert [data.kind for data in await compound(stage)] == ["fired", "superseded"]


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
    checkpoint = (await read_stage_memory(stage.kafka, "triggers")).checkpoint
    assert checkpoint is not None
    assert checkpoint.next_offset == 3


async def test_states_beyond_the_topics_end_stop_the_monitor(stage: Stage, settings: Settings) -> None:
    owner = await _open(stage.kafka)
    await owner.write(_decided(7))
    await owner.close()
    with running_monitor(settings, stage.directory) as monitor:
        assert await monitor.ended() == 1
        assert "the topic was made anew" in monitor.log
        assert "Traceback" not in monitor.log


async def _open(kafka: Kafka) -> KafkaCompoundLog:
    return await KafkaCompoundLog.open(
        kafka, "triggers", clock=SystemClock(), failpoints=Failpoints(), dead_letter_limit=10
    )


def _decided(next_offset: int) -> CompoundDecided:
    states = {checkpoint_key("triggers"): checkpoint_bytes(StageCheckpoint(next_offset))}
    return CompoundDecided(next_offset, states=states)


def report_bytes(name: str, ahead: float = 0, kind: str = "data_corruption") -> bytes:
    clock = SystemClock()
    at = clock.now().timestamp() + ahead
    data = ReportEvent.model_validate(
        {"kind": kind, "component": "vectors", "at": at, "reported_by": "test", "reason": name}
    )
    return make_event(
        data,
        event_id=f"report-{name}",
        source="/test",
        time=clock.now(),
        subject="vectors",
        correlationid=name,
    ).to_bytes()
