"""Live predictions are those of a backtest over the same range, whatever the portions, restarts and
kills; what climbs with a rhythm is foreseen, and what is steady is not."""

from __future__ import annotations

import asyncio
import json
import math
import random
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chassis.settings import Settings
from schemas.predictions import PredictionEvent
from schemas.registry import read_event
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.prediction_events import prediction_event
from services.monitor.adapters.prediction_recall import read_prediction_states
from services.monitor.adapters.topic_range import backtest_topic, topic_ends
from services.monitor.domain.prediction.memory import RememberedSeries, read_remembered
from services.monitor.handlers.prediction_backtest import PredictionBacktest
from tests.integration.conftest import Backout
from tests.integration.monitor.monitor_process import running_monitor
from tests.integration.monitor.stage import COMPONENTS, Stage, an_hour_ago, sample
from tests.polling import eventually

ALERTS = """\
enhanced_monitoring:
  predictive_alerts:
    - {model: slowness, prediction_window: 10m, confidence_threshold: 0.4, metric: ms, breach: "> 150"}
    - model: errors_by_zone
      prediction_window: 5m
      confidence_threshold: 0.3
      metric: errors
      breach: ">= 4"
      group_by: [component, zone]
"""
SHIPPED = Path(__file__).parents[3] / "config"
STEP = 20


def configure_alerts(stage: Stage, text: str = ALERTS) -> None:
    (stage.directory / "monitoring").mkdir(exist_ok=True)
    (stage.directory / "monitoring" / "alerts.yml").write_text(text)


def rhythmic_log(seed: int, hours: float) -> Iterator[tuple[str, bytes]]:
    """Every series breaches with a rhythm of its own, under noise, late samples and gaps."""
    chance = random.Random(seed)  # noqa: S311
    start = an_hour_ago() - hours * 3_600
    for turn in range(int(hours * 3_600 / STEP)):
        for number, component in enumerate(COMPONENTS):
            if number == 5 and turn % 200 > 150:
                continue
            at = start + turn * STEP + chance.choice([0.0, 0.0, 0.0, 0.5, -2.5 * STEP])
            high = turn % (40 + 5 * number) < 4
            yield component, sample("ms", component, (180 if high else 60) + chance.randrange(20), at)
            if chance.random() < 0.3:
                errors = 4 + chance.randrange(3) if turn % 30 < 3 else chance.randrange(4)
                zone = chance.choice(["east", "west"])
                yield component, sample("errors", component, errors, at, labels={"zone": zone})


async def told(stage: Stage) -> list[dict[str, Any]]:
    """Every event of the predictions topic, by id, without the writer's clock."""
    events = [read_event(record.value) for record in await stage.records("predictions")]
    found = []
    for event in events:
        assert isinstance(event.data, PredictionEvent)
        found.append({"id": event.id, **event.data.model_dump()})
    return sorted(found, key=lambda each: str(each["id"]))


async def backtested(stage: Stage) -> tuple[list[dict[str, Any]], PredictionBacktest]:
    """What a backtest over the range that was decided tells, and what it predicted."""
    config = load_config(stage.directory)
    begins = {number: begin for number, (begin, _) in (await topic_ends(stage.kafka)).items()}
    ranges = {number: (begins[number], end) for number, end in (await stage.checkpointed()).items()}
    found: list[dict[str, Any]] = []
    everything = PredictionBacktest(config.predictive, "all")
    for number, limits in ranges.items():
        before = len(everything.told)
        await backtest_topic(
            stage.kafka,
            config.rules,
            allowed_lateness=2.0,
            on_unread=lambda _place, _unread: None,
            ranges={number: limits},
            portion=777,
            predicted=everything,
        )
        for each in everything.told[before:]:
            event = prediction_event(each, stage.kafka.topic("metrics"), number, datetime.now(UTC))
            found.append({"id": event.id, **event.data.model_dump()})
    return sorted(found, key=lambda each: str(each["id"])), everything


async def stored(stage: Stage) -> list[RememberedSeries]:
    """The newest record of each series."""
    partitions = [await read_prediction_states(stage.kafka, number) for number in await stage.ends()]
    found = [
        read_remembered(record.key or b"", record.value or b"")
        for records in partitions
        for record in records
    ]
    return [memory for memory in found if isinstance(memory, RememberedSeries)]


async def compare(stage: Stage) -> list[dict[str, Any]]:
    live, (expected, _) = await told(stage), await backtested(stage)
    assert live == expected
    assert len({each["id"] for each in live}) == len(live)
    kinds = {each["kind"] for each in live}
    assert kinds >= {"raised", "came_true", "not_come_true"}
    # Those who predict look at labels, too: that is nothing to the triggers.
    assert await stage.told_like_backtest() == await stage.backtested()
    return live


async def test_in_portions_of_different_sizes_with_a_restart_and_hand_overs(
    stage: Stage, settings: Settings
) -> None:
    configure_alerts(stage)
    log = list(rhythmic_log(1, hours=2))
    fifth = len(log) // 5
    parts = [log[begin : begin + fifth] for begin in range(0, len(log), fifth)]
    environment = {"BACKOUT_MONITOR__FETCH_MAX_RECORDS": "7"}
    with running_monitor(settings, stage.directory, environment=environment) as first:
        await stage.publish(parts[0])
        await stage.caught_up()
        assert await first.stop() == 0, first.log
    environment = {"BACKOUT_MONITOR__FETCH_MAX_RECORDS": "500"}
    with (
        running_monitor(settings, stage.directory, environment=environment) as first,
        running_monitor(settings, stage.directory, instance="two") as monitor,
    ):
        await stage.publish(parts[1])
        await monitor.ready()
        await stage.publish(parts[2])
        await stage.caught_up()
        await stage.publish(parts[3])
        assert await first.stop() == 0, first.log
        for part in parts[4:]:
            await stage.publish(part)
        await stage.caught_up()
        metrics = await monitor.metrics()
        assert await monitor.stop() == 0, monitor.log
    live = await compare(stage)
    assert len(live) > 30
    assert {each["model"] for each in live} == {"slowness", "errors_by_zone"}
    assert {tuple(each["group"]) for each in live} == {("component",), ("component", "zone")}
    raised = sum(each["kind"] == "raised" for each in live)
    assert "predictions begin anew" not in monitor.log
    assert 'backout_monitor_predictions_total{model="slowness"}' in metrics
    assert 'backout_monitor_prediction_brier_score{model="slowness"}' in metrics
    assert 0 < sum(values(metrics, "backout_monitor_prediction_alerts_total", 'kind="raised"')) < raised
    made = sum(values(metrics, "backout_monitor_predictions_total", "model="))
    answered = sum(values(metrics, "backout_monitor_predictions_answered_total", "model="))
    assert made > answered > 100


def values(metrics: str, name: str, label: str) -> list[float]:
    lines = (line for line in metrics.splitlines() if line.startswith(name + "{") and label in line)
    return [float(line.rpartition(" ")[2]) for line in lines]


async def test_killed_around_the_transaction(stage: Stage, settings: Settings) -> None:
    configure_alerts(stage)
    log = list(rhythmic_log(2, hours=2))
    quarter = len(log) // 4
    for number, place in enumerate(("before-transaction", "before-commit", "after-commit")):
        environment = {
            "BACKOUT_FAILPOINTS": f"monitor.{place}=kill@{3 + 2 * number}",
            "BACKOUT_MONITOR__FETCH_MAX_RECORDS": "200",
        }
        with running_monitor(settings, stage.directory, environment=environment) as monitor:
            await stage.publish(log[number * quarter : (number + 1) * quarter])
            assert await monitor.ended() == -signal.SIGKILL, monitor.log
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish(log[3 * quarter :])
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    await compare(stage)


async def test_a_series_is_continued_from_its_record(stage: Stage, settings: Settings) -> None:
    """Records are written after two seconds of work, and a restart reads again only what follows."""
    configure_alerts(stage)
    log = list(rhythmic_log(3, hours=1.5))
    half = len(log) // 2
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish(log[:half])

        async def are_written() -> bool:
            """Two seconds of work after the last ones, with the next checkpoint."""
            await stage.publish([("other", sample("ms", "other", 1.0, an_hour_ago()))])
            await stage.caught_up()
            return len(await stored(stage)) >= len(COMPONENTS)

        await eventually(are_written, what="series are written")
        assert await monitor.stop() == 0, monitor.log
    assert {memory.alert.model for memory in await stored(stage)} == {"slowness", "errors_by_zone"}
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish(log[half:])
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    assert "predictions recalled" in monitor.log
    await compare(stage)
    changed = ALERTS.replace('"> 150"', '"> 160"')
    configure_alerts(stage, changed)
    before = await told(stage)
    for number in range(2):
        with running_monitor(settings, stage.directory) as monitor:
            await stage.publish(log[-2 - number : len(log) - number])
            await stage.caught_up()
            assert await monitor.stop() == 0, monitor.log
        assert ("predictions begin anew" in monitor.log) is (number == 0)
    new = [each for each in await told(stage) if each not in before]
    raised = {each["prediction_id"] for each in before if each["kind"] == "raised"}
    over = {each["prediction_id"] for each in before if each["kind"] != "raised"}
    open_alerts = {name for name in raised - over if name.startswith("prediction:slowness:")}
    superseded = {each["prediction_id"] for each in new if each["kind"] == "superseded"}
    assert superseded == open_alerts


async def test_the_shipped_alerts_foresee_a_rhythm_and_nothing_steady(
    stage: Stage, settings: Settings, backout: Backout
) -> None:
    shutil.rmtree(stage.directory)
    shutil.copytree(SHIPPED, stage.directory)
    start, days, step = an_hour_ago() - 3 * 86_400, 3, 300
    log = []
    for turn in range(days * 86_400 // step):
        at = start + turn * step
        # Climbs for half an hour, is slow for ten minutes, every two hours.
        phase = turn % 24
        climbing = 900 + max(0, phase - 15) * 330 if phase < 22 else 3_600
        steady = 900 + 60 * math.sin(turn)
        log.append(("rag_api", sample("response_time_p95_ms", "rag_api", climbing, at)))
        log.append(("chunking", sample("response_time_p95_ms", "chunking", steady, at)))
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish(log)
        await stage.caught_up()
        metrics = await monitor.metrics()
        assert await monitor.stop() == 0, monitor.log
    live = await told(stage)
    assert {each["component"] for each in live} == {"rag_api"}
    assert {each["model"] for each in live} == {"response_time_predictor"}
    ends = [each["kind"] for each in live if each["kind"] != "raised"]
    assert len(ends) > 10
    assert ends.count("came_true") / len(ends) >= 0.8
    last = max((each for each in live if each["kind"] == "raised"), key=lambda each: each["raised_at"])
    assert last["probability"] >= last["confidence"] == 0.8
    assert last["past"]["answered"] >= last["past"]["came_true"] > 5
    assert last["evidence"]["samples"] > 500
    assert (
        'backout_monitor_prediction_alerts_total{kind="came_true",model="response_time_predictor"}' in metrics
    )
    rollbacks = [event for event in await stage.told() if "prediction" in event.id]
    assert rollbacks == []
    scored = await asyncio.to_thread(backout, "predictions", "score", "-o", "json")
    assert scored.status == 0, scored.err
    (score,) = json.loads(scored.out)
    judged = [kind for kind in ends if kind in ("came_true", "not_come_true")]
    assert score["raised"] == len(ends) + score["open"]
    assert score["precision"] == round(ends.count("came_true") / len(judged), 3)
    listed = await asyncio.to_thread(backout, "predictions", "list", "--all")
    assert listed.status == 0, listed.err
    assert len(listed.out.splitlines()) == 1 + score["raised"]
    assert listed.out.splitlines()[1].split()[:2] == ["rag_api", "response_time_predictor"]
