"""Releases and limits on groups on a real log: announced by command, killed in between, told once."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from typer.testing import CliRunner

from chassis.errors import UsageError
from chassis.settings import Settings
from cli.releases import app
from schemas.registry import read_event
from schemas.triggers import GroupOverflow
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.topic_range import backtest_topic
from tests.integration.monitor.monitor_process import MonitorProcess, running_monitor
from tests.integration.monitor.stage import Stage, an_hour_ago, configure, sample
from tests.polling import eventually

RULES = """\
triggers:
  - name: slower
    metric: ms
    aggregate: p95
    window: 10s
    baseline: {aggregate: p50, window: 2m}
    when: "> 50%"
    for: 5s
    only_within: 1m
  - name: heavier
    ratio: {of: ms, to: load}
    aggregate: sum
    window: 10s
    baseline: {window: 2m}
    when: "> 40%"
    for: 5s
    only_within: 1m
  - {name: routes, metric: ms, when: "> 1000", group_by: [component, route], max_groups: 3}
"""
API = "query_api"


@pytest.fixture
def environment(stage: Stage, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's settings: this test's topics and configuration."""
    configure(stage.directory, RULES)
    monkeypatch.setenv("BACKOUT_SETTINGS_FILE", os.devnull)
    monkeypatch.setenv("BACKOUT_KAFKA__BOOTSTRAP_SERVERS", settings.bootstrap_servers)
    monkeypatch.setenv("BACKOUT_KAFKA__NAMESPACE", settings.kafka.namespace)


def _samples(start: int, begin: int, end: int, value: float) -> list[tuple[str, bytes]]:
    labels = {"route": "/documents"}
    return [
        (API, sample(metric, API, of_metric + at % 3, start + at, labels=labels))
        for at in range(begin, end)
        for metric, of_metric in (("ms", value), ("load", 4))
    ]


async def _announce(*arguments: str) -> str:
    result = await asyncio.to_thread(CliRunner().invoke, app, ["announce", *arguments])
    assert result.exit_code == 0, (result.stderr, result.exception)
    return result.stdout


@pytest.mark.usefixtures("environment")
async def test_a_worse_release_fires_and_what_is_known_of_it_survives_a_kill(
    stage: Stage, settings: Settings
) -> None:
    start = an_hour_ago()
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish(_samples(start, 0, 120, 100))
        said = await _announce("--component", API, "--version", "2.0", "--at", str(start + 119.5))
        assert "Announced the release of query_api 2.0 at " in said
        await stage.publish(_samples(start, 120, 130, 120))
        await stage.caught_up()
        monitor.signal(signal.SIGKILL)
        await monitor.ended()
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish(_samples(start, 130, 160, 160))
        await stage.caught_up()
        monitor.signal(signal.SIGKILL)
        await monitor.ended()
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish(_samples(start, 160, 200, 160))
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    live = await stage.told_like_backtest()
    assert live == await stage.backtested()
    assert {(entry["id"].split(":")[0], entry["id"].split("/")[1], entry["reason"]) for entry in live} == {
        (trigger, *what)
        for trigger in ("heavier", "slower")
        for what in (("fired", "breach_lasted"), ("resolved", "release_too_old"))
    }
    fired = {entry["id"].split(":")[0]: entry["why"] for entry in live if "/fired/" in entry["id"]}
    assert "the baseline is 101," in fired["slower"]
    assert "the baseline is 20.2," in fired["heavier"]


@pytest.mark.usefixtures("environment")
async def test_a_release_of_the_future_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="s ahead, more than 60"):
        CliRunner().invoke(
            app, ["announce", "--component", API, "--at", "2100-01-01T00:00:00Z"], catch_exceptions=False
        )
    with pytest.raises(UsageError, match="component 'query api'"):
        CliRunner().invoke(app, ["announce", "--component", "query api"], catch_exceptions=False)


@pytest.mark.usefixtures("environment")
async def test_an_overflow_is_told_once_and_shown_as_long_as_it_lasts(
    stage: Stage, settings: Settings
) -> None:
    start = an_hour_ago()

    def routes(begin: int, end: int) -> list[tuple[str, bytes]]:
        return [
            (API, sample("ms", API, 2000, start + at, labels={"route": f"/{at}"})) for at in range(begin, end)
        ]

    gauge = 'backout_monitor_trigger_overflowed{partition="'
    for begin in (0, 5):
        with running_monitor(settings, stage.directory) as monitor:
            await stage.publish(routes(begin, begin + 5))
            await stage.caught_up()

            async def is_shown(monitor: MonitorProcess = monitor) -> bool:
                lines = (await monitor.metrics()).splitlines()
                return any(line.startswith(gauge) and line.endswith(" 1.0") for line in lines)

            await eventually(is_shown, what="the gauge is set")
            monitor.signal(signal.SIGKILL)
            await monitor.ended()
    events = [read_event(record.value) for record in await stage.records("triggers")]
    (event,) = [event for event in events if isinstance(event.data, GroupOverflow)]
    assert event.data.group == {"component": API, "route": "/3"}
    assert (event.data.trigger, event.data.limit, event.subject) == ("routes", 3, API)
    rules = load_config(stage.directory).rules
    found = await backtest_topic(
        stage.kafka, rules, allowed_lateness=2.0, on_unread=lambda _place, _unread: None
    )
    (overflow,) = found.overflows
    assert (overflow.of.as_mapping(), overflow.at) == (event.data.group, int(event.data.at.timestamp()))
    fired = {entry.data.group["route"] for entry in await stage.told()}
    assert fired == {"/0", "/1", "/2"}
