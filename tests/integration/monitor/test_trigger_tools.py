"""Backtests over ranges of the topic, and explanations of what the live service told."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chassis.kafka import partition_for_key
from chassis.settings import Settings
from cli.triggers import app
from services.monitor.adapters.topic_range import appended_first, topic_ends, topic_ranges
from services.monitor.domain.engine.outcomes import rfc3339
from tests.integration.monitor.monitor_process import running_monitor
from tests.integration.monitor.stage import Stage, an_hour_ago, configure, sample

RULES = """\
triggers:
  - {name: slow, metric: ms, when: "> 100", for: 20s, staleness: 10s, min_samples: 3}
"""
SECONDS = 180
COMPONENT = "component_0"


@pytest.fixture
def environment(stage: Stage, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands' settings: this test's topics and configuration."""
    configure(stage.directory, RULES)
    monkeypatch.setenv("BACKOUT_CONFIG_DIR", str(stage.directory))
    monkeypatch.setenv("BACKOUT_SETTINGS_FILE", os.devnull)
    monkeypatch.setenv("BACKOUT_KAFKA__BOOTSTRAP_SERVERS", settings.bootstrap_servers)
    monkeypatch.setenv("BACKOUT_KAFKA__NAMESPACE", settings.kafka.namespace)


async def _triggers(*arguments: str) -> Result:
    result = await asyncio.to_thread(CliRunner().invoke, app, list(arguments))
    assert result.exit_code == 0, (result.stderr, result.exception)
    return result


def _log(start: int) -> list[tuple[str, bytes]]:
    """Two breaches, of which the first fires: from 40 to 100, and from 120 to 130."""
    log = []
    for second in range(0, SECONDS, 2):
        slow = 40 <= second < 100 or 120 <= second < 130
        log.append((COMPONENT, sample("ms", COMPONENT, 150 + second / 10 if slow else 50, start + second)))
        log.append(("component_1", sample("ms", "component_1", 60, start + second)))
    return log


async def _transitions(*arguments: str) -> list[dict[str, Any]]:
    result = await _triggers("backtest", "--from-topic", *arguments)
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.usefixtures("environment")
async def test_what_the_live_service_told_is_explained(stage: Stage, settings: Settings) -> None:
    start = an_hour_ago()
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish(_log(start))
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    fired = next(each.data for each in await stage.told() if each.data.kind == "fired")
    answer = json.loads((await _triggers("explain", fired.trigger_id, "-o", "json")).stdout)
    assert answer["fired"] is True
    assert answer["event"]["trigger_id"] == fired.trigger_id
    assert [each["to"] for each in answer["transitions"]][:3] == ["pending", "firing", "inactive"]
    assert answer["notes"] == []
    assert fired.evidence is not None
    offsets = {each["offset"] for each in answer["samples"] if each["breaches"]}
    assert {fired.evidence.first_offset, fired.evidence.last_offset} <= offsets
    # The values rise from 154.0 to 159.8; 20 s of the highest ones begin with that of second 78.
    assert [each["setting"] for each in answer["would_turn_it"]] == ["threshold", "for", "min_samples"]
    assert answer["would_turn_it"][0]["value"] == 157.8
    quiet = await _triggers(
        "explain", "--trigger", "slow", "--component", COMPONENT, "--at", rfc3339(start + 128), "-o", "json"
    )
    second = json.loads(quiet.stdout)
    assert (second["fired"], second["phase"], second["lasted_s"]) == (False, "pending", 8)
    configure(stage.directory, RULES.replace("> 100", "> 110"))
    changed = json.loads((await _triggers("explain", fired.trigger_id, "-o", "json")).stdout)
    assert any("definition has changed since" in note for note in changed["notes"])
    await stage.delete_first_samples(fired.evidence.partition, fired.evidence.first_offset + 5)
    answer = json.loads((await _triggers("explain", fired.trigger_id, "-o", "json")).stdout)
    assert any("retention has deleted" in note for note in answer["notes"])
    assert any("has no breach" in note for note in answer["notes"])
    assert min(each["offset"] for each in answer["samples"]) >= fired.evidence.first_offset + 5
    # What was told then is still there.
    assert answer["event"]["kind"] == "fired"


@pytest.mark.usefixtures("environment")
async def test_what_is_pending_or_firing_is_listed(stage: Stage, settings: Settings) -> None:
    start = an_hour_ago()
    nothing = await _triggers("list")
    assert nothing.stdout == "No trigger is pending or firing.\n"
    assert "Nothing was evaluated yet" in nothing.stderr
    with running_monitor(settings, stage.directory) as monitor:
        seconds = range(0, 80, 2)
        later = [sample("ms", "component_2", 50 if at < 70 else 150, start + at) for at in seconds]
        # In the order of time: on one partition, what is older than others' samples is late.
        log = zip(_log(start)[::2], (("component_2", each) for each in later), strict=False)
        await stage.publish(record for pair in log for record in pair)
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    (fired,) = [each.data for each in await stage.told() if each.data.kind == "fired"]
    answer = json.loads((await _triggers("list", "-o", "json")).stdout)
    firing, pending = answer["triggers"]
    assert firing == {
        "trigger": "slow",
        "trigger_id": fired.trigger_id,
        "group": {"component": COMPONENT},
        "phase": "firing",
        "no_data": False,
        "began": rfc3339(int(fired.began.timestamp())),
        "condition": "ms > 100 for 20s",
        "severity": fired.severity,
    }
    assert (pending["group"], pending["phase"]) == ({"component": "component_2"}, "pending")
    number = partition_for_key(COMPONENT.encode(), len(await topic_ends(stage.kafka)))
    (through,) = [each for each in answer["partitions"] if each["partition"] == number]
    assert rfc3339(start + 70) < through["evaluated_through"] <= rfc3339(start + 80)
    table = await _triggers("list", "--phase", "firing")
    assert [line.split()[:3] for line in table.stdout.splitlines()] == [
        ["TRIGGER", "GROUP", "PHASE"],
        ["slow", COMPONENT, "firing"],
    ]
    assert "Evaluated through" in table.stderr
    of_none = await _triggers("list", "--component", "component_1")
    assert of_none.stdout == "No trigger is pending or firing.\n"


@pytest.mark.usefixtures("environment")
async def test_a_range_of_the_topic(stage: Stage) -> None:
    start = an_hour_ago()
    log = _log(start)
    await stage.publish(log)
    rules = ("--rules", str(stage.directory / "rollback" / "triggers.yml"))
    whole = await _transitions(*rules)
    assert [each["to"] for each in whole] == ["pending", "firing", "inactive", "pending", "inactive"]
    number = partition_for_key(COMPONENT.encode(), len(await topic_ends(stage.kafka)))
    begin, end = (await topic_ends(stage.kafka))[number]
    # From after the first breach on, the second one is found as in the whole.
    mine = [json.loads(record.value or b"")["component"] for record in await stage.records("metrics", number)]
    middle = begin + int(len(mine) * 110 / SECONDS)
    assert await _transitions(*rules, "--from-offset", f"{number}:{middle}") == whole[3:]
    # Begun in the middle of the breach, it begins there.
    inside = begin + int(len(mine) * 60 / SECONDS)
    later = await _transitions(*rules, "--from-offset", f"{number}:{inside}")
    assert later[0]["to"] == "pending"
    assert later[0]["began"] > whole[0]["began"]
    assert [each["at"] for each in later[2:]] == [each["at"] for each in whole[2:]]
    assert await _transitions(*rules, "--from-offset", str(end)) == []


@pytest.mark.usefixtures("environment")
async def test_ranges_by_the_time_of_appending(stage: Stage) -> None:
    start = an_hour_ago()
    await stage.publish(_log(start)[:20])
    number = partition_for_key(COMPONENT.encode(), len(await topic_ends(stage.kafka)))
    _, first_end = (await topic_ends(stage.kafka))[number]
    last = (await stage.records("metrics", number))[-1].timestamp / 1000
    await asyncio.to_thread(_pass_a_millisecond, last)
    await stage.publish(_log(start)[20:])
    ranges = await topic_ranges(stage.kafka, since=last + 0.001)
    assert ranges[number][0] == first_end
    until = await topic_ranges(stage.kafka, until=last + 0.001)
    assert until[number][1] == first_end
    # Reports are read from when the first record of an offset was appended.
    late = next(each for each in await stage.records("metrics", number) if each.offset == first_end)
    assert await appended_first(stage.kafka, {number: ranges[number]}) == late.timestamp / 1000
    assert await appended_first(stage.kafka, until) is None
    beyond = await topic_ranges(stage.kafka, since=last + 3_600)
    assert beyond[number][0] == beyond[number][1] > first_end


def _pass_a_millisecond(last: float) -> None:
    """Return once the clock is past ``last`` by 2 ms, so that what follows is appended later."""
    while time.time() < last + 0.002:
        pass


@pytest.mark.usefixtures("environment")
async def test_an_unreadable_record_of_the_topic_is_named_with_its_partition(stage: Stage) -> None:
    await stage.producer.send(stage.kafka.topic("metrics"), b"garbage", key=b"c", partition=3)
    await stage.publish(_log(an_hour_ago())[:4])
    result = await _triggers(
        "backtest", "--from-topic", "--rules", str(stage.directory / "rollback" / "triggers.yml")
    )
    assert "offset 3:0: invalid_json" in result.stderr
