"""Circuit breakers on the real broker: samples in, decisions on the topic, answers in the application."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path

import pytest

from backout_client import BreakerClient
from chassis.kafka import Kafka, TopicPartition, read_range
from chassis.settings import Settings
from schemas.breakers import BreakerAlive, BreakerDecision
from schemas.registry import read_event
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.topic_range import topic_ends
from services.monitor.domain.breakers.breakers import Breakers, Decision
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.engine.outcomes import rfc3339
from tests.integration.conftest import Backout
from tests.integration.monitor.monitor_process import running_monitor
from tests.integration.monitor.stage import Stage, configure, sample
from tests.integration.monitor.test_live_equals_backtest import wavy_log
from tests.polling import eventually

BREAKERS = """\
breakers:
  open_for: 3s
  probe_for: 2s
  probe_share: 0.5
  damping: {within: 20s, at_most: 20s, quiet_for: 2m}
  checks:
    response_time: {metric: ms, when: "> 150", clear: "< 120", for: 2s, staleness: 6s}
    error_rate: {metric: errors, aggregate: sum, window: 10s, when: ">= 9", for: 1s}
  fallbacks:
    - {use: cached_answers, on: [response_time]}
    - {use: reject}
"""
QUIET = "triggers: [{name: never, metric: ms, when: '> 1e9'}]\n"


@pytest.fixture
def directory(stage: Stage) -> Path:
    """The stage's configuration, with breakers."""
    (stage.directory / "breakers.yml").write_text(BREAKERS)
    return stage.directory


async def _decisions(stage: Stage) -> list[tuple[str, str, str | None]]:
    """Every decision on the topic: its id, reason and fallback, sorted."""
    events = [read_event(record.value) for record in await stage.records("breakers") if record.value]
    return sorted(
        (event.id, event.data.reason, event.data.fallback)
        for event in events
        if isinstance(event.data, BreakerDecision)
    )


async def _expected(stage: Stage) -> list[tuple[str, str, str | None]]:
    """The decisions that the log leads to, made here in portions of another size."""
    config = load_config(stage.directory)
    found: list[Decision] = []
    begins = {number: begin for number, (begin, _) in (await topic_ends(stage.kafka)).items()}
    for number, end in (await stage.checkpointed()).items():
        engine = PartitionEngine((*config.rules, *config.breakers.rules), allowed_lateness=2.0)
        intake, breakers = Intake(engine.series), Breakers(config.breakers)
        records: list[object] = []
        place = TopicPartition(stage.kafka.topic("metrics"), number)
        await read_range(stage.kafka, place, begins[number], end - 1, each=records.append)
        for at in range(0, len(records), 333):
            outcomes = engine.advance(intake.read(records[at : at + 333]).columns)  # type: ignore[arg-type]
            found += breakers.advance(outcomes, engine.evaluated_through)
    return sorted(
        (
            f"breaker:{each.component}/{each.breaker.state}/{rfc3339(each.at)}",
            each.reason,
            each.breaker.fallback,
        )
        for each in found
    )


async def _ended_as_expected(stage: Stage) -> None:
    told, expected = await _decisions(stage), await _expected(stage)
    assert told == expected
    assert len({identity for identity, _, _ in told}) == len(told)
    assert {reason for _, reason, _ in expected} >= {"first_seen", "check_failed", "clear_long_enough"}
    assert not any(event.data.trigger.startswith("breaker") for event in await stage.told())


async def test_killed_around_the_write_no_decision_is_lost(
    stage: Stage, settings: Settings, directory: Path
) -> None:
    log = list(wavy_log(5))
    places = ("monitor.before-transaction", "monitor.before-commit", "monitor.after-commit")
    for number, place in enumerate(places):
        environment = {"BACKOUT_FAILPOINTS": f"{place}=kill@{2 + number}"}
        with running_monitor(settings, directory, environment=environment) as monitor:
            await stage.publish(log[number * 250 : (number + 1) * 250])
            assert await monitor.ended() == -signal.SIGKILL, monitor.log
    with running_monitor(settings, directory) as monitor:
        await stage.publish(log[750:])
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    await _ended_as_expected(stage)


class Live:
    """A component that publishes a sample every tenth of a second, as of now."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.value = 50.0

    async def run(self) -> None:
        while True:
            await self._stage.publish([("c", sample("ms", "c", self.value, time.time()))])
            await asyncio.sleep(0.1)


def _client(kafka: Kafka, **options: object) -> BreakerClient:
    return BreakerClient(kafka.bootstrap_servers, topic=kafka.topic("breakers"), **options)  # type: ignore[arg-type]


async def test_from_samples_to_the_answer_and_to_the_configured_one_once_it_is_stale(
    stage: Stage, settings: Settings, directory: Path, backout: Backout
) -> None:
    configure(directory, QUIET)
    live = Live(stage)
    task = asyncio.create_task(live.run())
    try:
        async with (
            _client(stage.kafka, when_stale="closed", stale_after_s=9.0) as trusting,
            _client(stage.kafka, when_stale="open", stale_after_s=9.0, stale_fallback="reject") as careful,
        ):
            assert await trusting.wait_until_read(20)
            assert await careful.wait_until_read(20)
            assert trusting.decide("c").reason == "stale"
            assert careful.decide("c").fallback == "reject"
            with running_monitor(settings, directory) as monitor:

                async def answers(reason: str) -> None:
                    async def is_so() -> bool:
                        return trusting.decide("c").reason == reason

                    await eventually(is_so, what=f"the client answers {reason}: {trusting.decide('c')}")

                await answers("closed")
                live.value = 500.0
                await answers("open")

                async def the_other_knows_it() -> bool:
                    return careful.decide("c").reason == "open"

                await eventually(the_other_knows_it, what="the other client answers open")
                decision = careful.decide("c")
                assert (decision.allowed, decision.fallback) == (False, "cached_answers")
                assert "response_time: ms was 500 (> 150 for 2s)" in decision.why
                shown = backout("breakers", "show", "c", "-o", "json")
                assert shown.status == 0, shown.err
                described = json.loads(shown.out)
                assert (described["kind"], described["stale"]) == ("open", False)
                assert described["failed"][0]["check"] == "response_time"
                listed = backout("breakers", "list")
                assert listed.status == 0, listed.err
                assert listed.out.splitlines()[1].split()[:2] == ["c", "open"]
                unknown = backout("breakers", "show", "d")
                assert unknown.status == 2
                assert "there is no breaker of 'd'. Known are: c" in unknown.err
                live.value = 50.0
                await answers("probe")
                monitor.signal(signal.SIGKILL)
                await monitor.ended()
                await answers("stale")
            assert trusting.decide("c").allowed
            decision = careful.decide("c")
            assert (decision.allowed, decision.state, decision.fallback) == (False, "open", "cached_answers")
            assert decision.why.startswith("no sign of life of the monitor for 9 s")
    finally:
        task.cancel()
    alive = [read_event(record.value).data for record in await stage.records("breakers") if record.value]
    assert any(isinstance(data, BreakerAlive) for data in alive)


async def test_a_component_that_lost_its_breaker_is_removed(
    stage: Stage, settings: Settings, directory: Path
) -> None:
    configure(directory, QUIET)
    began = int(time.time()) - 300
    with running_monitor(settings, directory) as monitor:
        await stage.publish([("c", sample("ms", "c", 500, began + at)) for at in range(10)])
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    async with _client(stage.kafka, max_behind_s=None) as client:
        assert await client.wait_until_read(20)
        assert client.components().keys() == {"c"}
        (directory / "breakers.yml").write_text(BREAKERS + "  components: {c: {enabled: false}}\n")
        with running_monitor(settings, directory) as monitor:

            async def is_gone() -> bool:
                return client.components() == {}

            await eventually(is_gone, what="the decision is taken back")
            assert await monitor.stop() == 0, monitor.log


async def test_a_breaker_that_comes_back_opens_though_its_check_had_failed_all_the_while(
    stage: Stage, settings: Settings, directory: Path
) -> None:
    configure(directory, QUIET)
    began = int(time.time()) - 300
    for turn, breakers in enumerate((BREAKERS + "  components: {c: {enabled: false}}\n", BREAKERS)):
        (directory / "breakers.yml").write_text(breakers)
        with running_monitor(settings, directory) as monitor:
            first = began + 10 * turn
            await stage.publish([("c", sample("ms", "c", 500, first + at)) for at in range(10)])
            await stage.caught_up()
            assert await monitor.stop() == 0, monitor.log
        told = [reason for _, reason, _ in await _decisions(stage)]
        assert ("check_failed" in told) is (turn == 1)


async def test_a_wrong_file_is_refused_at_the_start(settings: Settings, directory: Path) -> None:
    wrong = BREAKERS.replace("open_for: 3s", "open_for: 5").replace("share: 0.5", "share: 7")
    (directory / "breakers.yml").write_text(wrong)
    with running_monitor(settings, directory) as monitor:
        assert await monitor.ended() == 2
        # Whatever ends it, a line of the log is one object.
        *_, last = (json.loads(line) for line in monitor.log.splitlines())
        assert (last["event"], last["level"], last["exit_status"]) == ("service stopped", "error", 2)
        assert "breakers.yml:2: 5 has no unit" in last["error"]
        assert "breakers.yml:4: 7 is not a share of the calls" in last["error"]
        assert "Traceback" not in monitor.log
