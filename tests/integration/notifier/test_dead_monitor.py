"""A monitor that stops evaluating is noticed: real processes, a real receiver, short thresholds."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from chassis.kafka import Kafka
from chassis.settings import Settings
from schemas.heartbeats import Heartbeat
from schemas.registry import read_event
from tests.integration.monitor.monitor_process import MonitorProcess, running_monitor
from tests.integration.monitor.stage import configure, sample
from tests.integration.notifier.stage import Notifiers, Receivers, journal, read_values
from tests.polling import eventually

TIMEOUT_S = 2.4
MONITOR = {"BACKOUT_MONITOR__HEARTBEAT_S": "0.3", "BACKOUT_MONITOR__SILENCE_S": "0.5"}
NOTIFIER = {"BACKOUT_NOTIFIER__HEARTBEAT_TIMEOUT_S": str(TIMEOUT_S)}
# The last heartbeat is up to its interval old when the monitor freezes; then the timeout, a check
# and a delivery. The machine is busy.
NOTICED_WITHIN_S = 30.0


@contextlib.contextmanager
def monitor(settings: Settings, tmp_path: Path, **more: str) -> Iterator[MonitorProcess]:
    directory = configure(tmp_path / "monitor")
    with running_monitor(settings, directory, environment={**MONITOR, **more}) as process:
        yield process


async def heartbeats(kafka: Kafka) -> list[Heartbeat]:
    events = [read_event(value) for value in await read_values(kafka, "heartbeats")]
    return [event.data for event in events if isinstance(event.data, Heartbeat)]


async def known(settings: Settings) -> dict[str, Any]:
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        row = await connection.fetchval("SELECT known FROM notifier.evaluation")
        found: dict[str, Any] = json.loads(row)
        return found
    finally:
        await connection.close()


async def all_heard(settings: Settings) -> None:
    """Wait until the notifier has heard of each partition: from then on it misses it."""

    async def is_heard() -> bool:
        heard = (await known(settings))["heard"]
        return len(heard) == 4 and all(each["instance"] for each in heard.values())

    await eventually(is_heard, what="the notifier has heard of every partition")


async def told(settings: Settings, *kinds: str) -> None:
    """Wait until exactly these announcements are recorded and delivered."""

    async def is_told() -> bool:
        rows = await journal(settings)
        assert len(rows) <= len(kinds), rows
        return [(row["about"], row["status"]) for row in rows] == [(kind, "delivered") for kind in kinds]

    await eventually(is_told, what=" ".join(kinds), timeout_s=NOTICED_WITHIN_S)


async def stays(settings: Settings, seconds: float, announcements: int) -> None:
    """For so long nothing further is recorded."""
    until = time.monotonic() + seconds

    async def has_passed() -> bool:
        assert len(await journal(settings)) == announcements
        return time.monotonic() > until

    await eventually(has_passed, what="the time has passed")


async def test_a_frozen_monitor_is_announced_once_and_so_is_its_return(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, receivers: Receivers, tmp_path: Path
) -> None:
    first = notifiers.start(**NOTIFIER)
    with monitor(settings, tmp_path) as process:
        async with kafka.producer() as producer:
            value = sample("ms", "c", 1, time.time())
            place = await producer.send(kafka.topic("metrics"), value, key=b"c")
        await all_heard(settings)
        # Three partitions without samples, and one whose samples have ended, are evaluated.
        await stays(settings, TIMEOUT_S * 1.5, 0)

        process.signal(signal.SIGSTOP)
        frozen_at = time.monotonic()
        await told(settings, "evaluation_stopped")
        assert time.monotonic() - frozen_at > TIMEOUT_S / 2
        (message,) = receivers.messages()
        assert message["text"] == "🔄 Trigger Evaluation: monitor - all 4 partitions: stopped"
        (attachment,) = message["attachments"]
        assert attachment["color"] == "danger"
        assert "no heartbeat of one since" in attachment["text"]
        assert [field["title"] for field in attachment["fields"]] == ["Component"]

        # A restart of the notifier forgets nothing and repeats nothing.
        notifiers.stop(first)
        notifiers.start(**NOTIFIER)
        await stays(settings, TIMEOUT_S, 1)

        process.signal(signal.SIGCONT)
        await told(settings, "evaluation_stopped", "evaluation_resumed")
        (message,) = receivers.messages()
        assert message["text"] == "🔄 Trigger Evaluation: monitor - all 4 partitions: resumed"
        assert message["attachments"][0]["color"] == "good"
        through = {beat.partition: beat.through for beat in await heartbeats(kafka)}
        assert [number for number, at in through.items() if at is not None] == [place.partition]


async def test_a_frozen_notifier_hears_before_it_judges_and_a_planned_stop_is_told_apart(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, receivers: Receivers, tmp_path: Path
) -> None:
    notifier = notifiers.start(**NOTIFIER)
    with monitor(settings, tmp_path) as process:
        await all_heard(settings)
        notifier.send_signal(signal.SIGSTOP)
        await stays(settings, TIMEOUT_S * 1.5, 0)
        notifier.send_signal(signal.SIGCONT)
        await stays(settings, TIMEOUT_S, 0)
        assert await process.stop() == 0, process.log
    kinds = {beat.partition: beat.kind for beat in await heartbeats(kafka)}
    assert kinds == dict.fromkeys(range(4), "released")
    await told(settings, "evaluation_stopped")
    (message,) = receivers.messages()
    assert "one let go in good order at" in message["attachments"][0]["text"]
