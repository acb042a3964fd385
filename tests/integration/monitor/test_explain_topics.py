"""``backout triggers explain`` over the topics: releases from before the samples, and what the second
stage told."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from chassis.kafka import partition_for_key
from chassis.settings import Settings
from cli.triggers import app
from schemas.metrics import Release, encode_release
from schemas.triggers import TriggerEvent
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.explain_source import GroupWanted, Source, from_topic
from services.monitor.adapters.topic_range import topic_ends
from services.monitor.domain.engine.intake import MAX_AHEAD_S
from services.monitor.domain.explaining.explaining import explain
from services.monitor.domain.language.rules import Rule
from tests.integration.monitor.monitor_process import running_monitor
from tests.integration.monitor.stage import Stage, an_hour_ago, configure, sample
from tests.integration.monitor.test_compound import breaches, report_bytes, until_told
from tests.polling import eventually

RULES = """\
triggers:
  - {name: slower, metric: ms, aggregate: p95, window: 10s, baseline: {aggregate: p50, window: 2m},
     when: "> 50%", for: 5s, severity: low}
  - {name: fresh, metric: ms, when: "> 150", staleness: 10s, for: 5s, only_within: 5m, severity: low}
  - {name: slow, metric: ms, when: "> 400", staleness: 60s, severity: critical}
compound_triggers:
  - {name: three, at_least: 3 components, window: 2m, members: {severity: [critical]}}
  - {name: corrupted, report: data_corruption, immediate: true}
"""
API = "query_api"


@pytest.fixture(autouse=True)
def environment(stage: Stage, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands' settings: this test's topics and configuration."""
    configure(stage.directory, RULES)
    monkeypatch.setenv("BACKOUT_CONFIG_DIR", str(stage.directory))
    monkeypatch.setenv("BACKOUT_SETTINGS_FILE", os.devnull)
    monkeypatch.setenv("BACKOUT_KAFKA__BOOTSTRAP_SERVERS", settings.bootstrap_servers)
    monkeypatch.setenv("BACKOUT_KAFKA__NAMESPACE", settings.kafka.namespace)
    monkeypatch.setenv("BACKOUT_MONITOR__COMPOUND_LATENESS_S", "1")


async def _explain(*arguments: str) -> Any:
    result = await asyncio.to_thread(CliRunner().invoke, app, ["explain", *arguments, "-o", "json"])
    assert result.exit_code == 0, (result.stderr, result.exception)
    return json.loads(result.stdout)


def _samples(start: int, begin: int, end: int, value: float) -> list[tuple[str, bytes]]:
    """Of the component, and of others on any partition."""
    both = [(API, sample("ms", API, value + at % 3, start + at)) for at in range(begin, end)]
    return both + [(f"c{at % 7}", sample("ms", f"c{at % 7}", 1.0, start + at)) for at in range(begin, end)]


def _fired(told: list[TriggerEvent], trigger: str) -> TriggerEvent:
    return next(each for each in told if each.trigger == trigger and each.kind == "fired")


async def test_what_the_live_service_compared_is_told(stage: Stage, settings: Settings) -> None:
    start = an_hour_ago()
    await stage.publish(_samples(start, 0, 180, 100.0))
    await stage.publish([(API, encode_release(Release(API, float(start + 180), "2.1")))])
    await stage.publish(_samples(start, 180, 260, 200.0))
    with running_monitor(settings, stage.directory) as monitor:
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    told = [each.data for each in await stage.told()]
    fired = _fired(told, "slower")
    answer = await _explain(fired.trigger_id)
    assert (answer["fired"], answer["notes"]) == (True, [])
    assert answer["release"]["version"] == "2.1"
    baseline = answer["baseline"]
    assert (baseline["value"], baseline["samples"], baseline["window"]) == (101.0, 120, 120)
    told_value = next(each["value"] for each in answer["transitions"] if each["to"] == "firing")
    assert told_value == fired.value
    settings_found = {each["setting"] for each in answer["would_turn_it"]}
    assert {"threshold", "for", "min_samples"} <= settings_found
    within = await _explain(_fired(told, "fresh").trigger_id)
    assert (within["fired"], within["notes"], within["release"]["before_s"]) == (True, [], 5)
    assert "only_within" in {each["setting"] for each in within["would_turn_it"]}
    # The release is remembered when its record is gone; the samples from before it are not.
    assert fired.evidence is not None
    await stage.delete_first_samples(fired.evidence.partition, answer["release"]["offset"] + 1)
    left = await _explain(fired.trigger_id)
    assert (left["release"]["version"], left["baseline"]["value"]) == ("2.1", None)
    assert any("retention has deleted" in note for note in left["notes"])
    assert any(f"the live service found {fired.value:.10g} when it fired" in note for note in left["notes"])


@pytest.mark.parametrize("remembered", [False, True])
async def test_a_release_from_before_the_samples_is_found(
    stage: Stage, settings: Settings, *, remembered: bool
) -> None:
    """On the log, or where the live service remembers it."""
    start = an_hour_ago()
    await stage.publish(_samples(start, 0, 180, 100.0))
    await stage.publish([(API, encode_release(Release(API, float(start + 180), "2.1")))])
    await stage.publish(_samples(start, 180, 200, 100.0))
    number = partition_for_key(API.encode(), len(await topic_ends(stage.kafka)))
    middle = (await stage.records("metrics", number))[-1].timestamp / 1000 + 0.0015
    await eventually(_is_past(middle + 0.002), what="time has passed")
    await stage.publish(_samples(start, 200, 260, 200.0))
    if remembered:
        with running_monitor(settings, stage.directory) as monitor:
            await stage.caught_up()
            assert await monitor.stop() == 0, monitor.log
    rules = {rule.name: rule for rule in load_config(stage.directory).rules}

    async def records_of(rule: Rule) -> Source:
        return await from_topic(
            stage.kafka,
            rule,
            GroupWanted(API),
            2.0,
            begin=middle + MAX_AHEAD_S,
            last=start + 250,
            event=None,
            releases_since=start,
        )

    # Of one that only asks how long ago the release was, nothing else is read again.
    fresh = await records_of(rules["fresh"])
    ((_, release),) = fresh.recorded.releases()
    assert (release.version, release.second) == ("2.1", start + 180)
    assert fresh.recorded.columns.record_offset[0] == release.offset
    assert float(fresh.recorded.columns.time.min()) >= start + 200
    assert explain(rules["fresh"], fresh.recorded, start + 250, start + 250).fired
    short = replace(rules["fresh"], only_within=60)
    assert not explain(short, fresh.recorded, start + 250, start + 250).fired
    # What is compared needs the samples from before the release.
    slower = await records_of(rules["slower"])
    found = explain(rules["slower"], slower.recorded, start + 250, start + 250)
    assert found.fired
    (figure,) = found.figures
    assert (figure.value, figure.samples) == (101.0, 120)


def _over_time(
    component: str, start: int, levels: list[tuple[int, int, float]], releases: list[int]
) -> list[tuple[str, bytes, float]]:
    """(component, value, appended at): a sample every 5 s at each level, from and to which minute; and
    releases at minutes, all as they had come."""
    entries = [
        (component, sample("ms", component, level, start + at), start + at + 0.5)
        for begin, end, level in levels
        for at in range(60 * begin, 60 * end, 5)
    ]
    for minute in releases:
        at = float(start + 60 * minute)
        entries.append((component, encode_release(Release(component, at, f"of-{minute}")), at + 0.25))
    return entries


BASELINE = """\
triggers:
  - {name: slower, metric: ms, aggregate: avg, window: 1m, baseline: {aggregate: avg, window: 10m},
     when: "> 50%", for: 30s}
"""


async def test_what_a_baseline_hangs_on_is_read_although_it_is_long_ago(
    stage: Stage, settings: Settings
) -> None:
    """Of one component the look-back reaches the release, and not the time before it. The other one breached
    when the second release came, and so its next breach is compared as the first was."""
    configure(stage.directory, BASELINE)
    start = int(time.time()) - 6_000
    near = _over_time("near", start, [(50, 75, 50.0), (75, 80, 100.0), (80, 85, 150.0)], [80])
    levels = [(0, 30, 100.0), (30, 70, 200.0), (70, 80, 100.0), (80, 85, 180.0)]
    kept = _over_time("kept", start, levels, [30, 65])
    await stage.publish_as_of(sorted([*near, *kept], key=lambda entry: entry[2]))
    with running_monitor(settings, stage.directory) as monitor:
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    fired = [each.data for each in await stage.told() if each.data.kind == "fired"]
    (only,) = (each for each in fired if each.component == "near")
    answer = await _explain(only.trigger_id, "--look-back", "1m")
    assert answer["notes"] == []
    # Half of the ten minutes at 50, half at 100.
    assert (answer["baseline"]["value"], answer["baseline"]["samples"]) == (75.0, 120)
    at = ("--trigger", "slower", "--component", "near", "--at", _text(int(only.at.timestamp())))
    asked = await _explain(*at, "--look-back", "1m")
    assert (asked["fired"], asked["baseline"]["value"]) == (True, 75.0)
    _, second = (each for each in fired if each.component == "kept")
    answer = await _explain(second.trigger_id, "--look-back", "1m")
    assert (answer["fired"], answer["notes"]) == (True, [])
    assert answer["release"]["version"] == "of-65"
    assert (answer["baseline"]["release"]["version"], answer["baseline"]["value"]) == ("of-30", 100.0)


async def test_where_no_release_is_known_it_is_said(stage: Stage) -> None:
    start = an_hour_ago()
    await stage.publish(_samples(start, 0, 60, 200.0))
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start + 50))
    answer = await _explain("--trigger", "fresh", "--component", API, "--at", at)
    assert (answer["fired"], answer["release"]) == (False, None)
    assert any("no release of query_api is known" in note for note in answer["notes"])
    assert any("without `only_within` it would have fired" in each for each in answer["not_tried"])


async def test_what_the_second_stage_told_is_explained(stage: Stage, settings: Settings) -> None:
    began = int(time.time()) - 300
    await stage.publish(breaches("abc", began, began + 20))
    with running_monitor(settings, stage.directory) as monitor:
        await until_told(stage, "fired")
        topic = stage.kafka.topic("reports")
        await stage.producer.send(topic, report_bytes("first"), key=b"vectors")
        await until_told(stage, "fired", "corrupted")
        await stage.producer.send(topic, report_bytes("tomorrow", ahead=86_400), key=b"vectors")
        assert await monitor.stop() == 0, monitor.log
    told = [each.data for each in await stage.told()]
    fired = _fired(told, "three")
    answer = await _explain(fired.trigger_id)
    assert (answer["fired"], answer["notes"], answer["id"]) == (True, [], fired.trigger_id)
    assert answer["event"]["trigger_id"] == fired.trigger_id
    assert answer["fired_at"] == fired.at.isoformat().replace("+00:00", "Z")
    counting = {each["id"] for each in answer["members"] if each["counts"]}
    assert counting == {member.id for member in fired.members}
    assert {"member", "at_least"} <= {each["setting"] for each in answer["would_turn_it"]}
    # A minute before, nobody fired.
    quiet = await _explain("--trigger", "three", "--since", _text(began - 90), "--until", _text(began - 60))
    assert (quiet["fired"], quiet["together"]) == (False, 0)
    reported = _fired(told, "corrupted")
    answer = await _explain(reported.trigger_id)
    assert (answer["fired"], answer["notes"], answer["id"]) == (True, [], reported.trigger_id)
    assert [each["id"] for each in answer["reports"]] == ["report-first"]
    configure(stage.directory, RULES.replace("window: 2m, members", "window: 1m, members"))
    changed = await _explain(fired.trigger_id)
    assert any("definition has changed since" in note for note in changed["notes"])


def _text(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def _is_past(moment: float) -> Any:
    async def is_past() -> bool:
        return time.time() > moment

    return is_past
