"""The live service tells what a backtest over the same range of the log tells: in portions of
any size, stopped or killed at any place, and when another owner takes over."""

from __future__ import annotations

import math
import random
import signal
from collections.abc import Iterator

import pytest

from chassis.settings import Settings
from tests.integration.monitor.monitor_process import running_monitor
from tests.integration.monitor.stage import COMPONENTS, Stage, an_hour_ago, sample
from tests.polling import eventually

SECONDS = 120


def wavy_log(seed: int) -> Iterator[tuple[str, bytes]]:
    """Two minutes of samples: waves over the thresholds, late samples, gaps, a few batches."""
    chance = random.Random(seed)  # noqa: S311
    start = an_hour_ago()
    for second in range(SECONDS):
        for number, component in enumerate(COMPONENTS):
            if (second + 17 * number) % 60 < 12 and number % 2:
                continue
            at = start + second + chance.choice([0.0, 0.0, 0.25, 0.5, -3.5])
            wave = 95 + 90 * math.sin(second / 9 + number) + chance.choice([0, 0, 60])
            yield component, sample("ms", component, round(wave, 2), at)
            if chance.random() < 0.6:
                yield component, sample("errors", component, chance.randrange(3), at)


async def _compare(stage: Stage) -> int:
    live, expected = await stage.told_like_backtest(), await stage.backtested()
    assert live == expected
    kinds = {entry["id"].split("/")[1] for entry in expected}
    assert kinds >= {"fired", "resolved"}
    assert len({entry["id"] for entry in live}) == len(live)
    return len(live)


async def test_in_portions_of_different_sizes_with_restarts_in_between(
    stage: Stage, settings: Settings
) -> None:
    log = list(wavy_log(1))
    third = len(log) // 3
    for number, size in enumerate(("1", "7", "20000")):
        environment = {"BACKOUT_MONITOR__FETCH_MAX_RECORDS": size}
        with running_monitor(settings, stage.directory, environment=environment) as monitor:
            await stage.publish(log[number * third : (number + 1) * third if number < 2 else None])
            await stage.caught_up()
            assert await monitor.stop() == 0, monitor.log
    assert await _compare(stage) > 20


@pytest.mark.parametrize(
    "place", ["monitor.before-transaction", "monitor.before-commit", "monitor.after-commit"]
)
async def test_killed_around_the_transaction(stage: Stage, settings: Settings, place: str) -> None:
    log = list(wavy_log(2))
    for number in range(3):
        environment = {"BACKOUT_FAILPOINTS": f"{place}=kill@{2 + number}"}
        with running_monitor(settings, stage.directory, environment=environment) as monitor:
            await stage.publish(log[number * 250 : (number + 1) * 250])
            assert await monitor.ended() == -signal.SIGKILL, monitor.log
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish(log[750:])
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    await _compare(stage)


async def test_a_frozen_former_owner_overwrites_nothing(stage: Stage, settings: Settings) -> None:
    log = list(wavy_log(3))
    half = len(log) // 2
    with (
        running_monitor(settings, stage.directory, instance="frozen") as frozen,
        running_monitor(settings, stage.directory, instance="heir") as heir,
    ):
        await frozen.ready()
        await heir.ready()
        await stage.publish(log[:half])
        await stage.caught_up()
        frozen.signal(signal.SIGSTOP)
        await stage.publish(log[half:])
        # The heir decides the second half of the frozen one's partitions, too.
        await stage.caught_up()
        before = len(frozen.log)
        frozen.signal(signal.SIGCONT)

        async def lets_go() -> bool:
            """It finds out that it owns nothing any more: at its next write, or from the group."""
            said = frozen.log[before:]
            known = ("another process has taken over", "partition recalled")
            return frozen.returncode is not None or any(words in said for words in known)

        await eventually(lets_go, what="the frozen monitor lets go of its partitions")
        await stage.publish(log[:half])
        await stage.caught_up()
        assert await heir.stop() == 0, heir.log
        await frozen.stop()
    await _compare(stage)
