"""``make bench ONLY=restart``: how long a killed monitor takes from its start to its first evaluation.

A real Kafka, 100 series with a sample each second and windows of ten minutes over all of them. The
monitor is killed with ``kill -9``; meanwhile samples are appended that make a trigger fire. Counted
is from the start of the next process to the event on the topic, as another process reads it, and
what of it was starting Python, and rejoining the group with the re-reading of ten minutes. A restart
under the same instance name keeps its place in the group.

The parts are told apart by the monitor's own log. Exit status 1 if the median is over two seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from benchmarks.figures import write_figures
from benchmarks.fleet import Fleet, kafka_of
from benchmarks.load import CACHE_DIR
from benchmarks.monitor_fleet import caught_up, configure, told
from chassis.embedded.kafka import EmbeddedKafka
from chassis.embedded.process_group import ProcessGroup
from chassis.kafka import Consumer, Kafka
from chassis.kafka_admin import ensure_topics
from chassis.settings import KafkaSettings

TARGET_S = 2.0
ROUNDS = 7
LOOK_BACK_S = 600
COMPONENTS = tuple(f"component_{number}" for number in range(10))
METRICS = tuple(f"metric_{number}_ms" for number in range(10))
INSTANCE = "one"
_WAIT_S = 60.0
RULES = (
    "triggers:\n"
    + "".join(
        f'  - {{name: mean_{metric}, metric: {metric}, aggregate: avg, window: 10m, when: "> 5000"}}\n'
        for metric in METRICS
    )
    + '  - {name: marker, metric: marker, staleness: 1s, when: "> 0", no_data: ok}\n'
)


@dataclass(frozen=True, slots=True)
class Restart:
    """Seconds from the start of the process, the parts of it, and its seconds of processor time."""

    whole: float
    python: float
    recalled: float
    processor: float


async def _look_back(kafka: Kafka) -> None:
    """Ten minutes of samples that end now."""
    now, topic = int(time.time()), kafka.topic("metrics")
    async with kafka.producer(linger_ms=20) as producer:
        sent = [
            await producer.enqueue(topic, value, key=component.encode())
            for second in range(now - LOOK_BACK_S, now)
            for component in COMPONENTS
            for value in _samples(component, second)
        ]
        await asyncio.gather(*sent)


def _samples(component: str, second: int) -> Iterator[bytes]:
    for metric in METRICS:
        sample = {"metric": metric, "component": component, "value": 1_000 + second % 60, "time": second}
        yield json.dumps(sample).encode()


async def _deciding(kafka: Kafka, component: str) -> None:
    """What makes the component's marker fire: a breach, and the record that moves time past it."""
    now = time.time()
    async with kafka.producer() as producer:
        for at, value in ((now - 4, 1.0), (now, 0.0)):
            sample = {"metric": "marker", "component": component, "value": value, "time": at}
            await producer.send(kafka.topic("metrics"), json.dumps(sample).encode(), key=component.encode())


async def _one(kafka: Kafka, fleet: Fleet, triggers: Consumer, number: int) -> Restart:
    before = fleet.log_file(INSTANCE).stat().st_size
    component = COMPONENTS[number % len(COMPONENTS)]
    if not await caught_up(kafka, timeout_s=_WAIT_S):
        raise RuntimeError(f"not caught up\n{fleet.log_tail()}")
    seen = len(await told(kafka))
    fleet.kill(INSTANCE)
    await _deciding(kafka, component)
    began, began_at = time.monotonic(), time.time()
    fleet.start(INSTANCE)
    while not any((await triggers.getmany(timeout_ms=50)).values()):
        if time.monotonic() - began > _WAIT_S:
            raise RuntimeError(f"no event after a restart\n{fleet.log_tail()}")
    whole = time.monotonic() - began
    if len(await told(kafka)) <= seen:
        raise RuntimeError("the event that was read is none of this restart")
    processor = psutil.Process(fleet.running[INSTANCE].pid).cpu_times()
    with fleet.log_file(INSTANCE).open() as log:
        log.seek(before)
        said = [json.loads(line) for line in log if line.startswith("{")]
    at = {entry["event"]: datetime.fromisoformat(entry["timestamp"]).timestamp() - began_at for entry in said}
    return Restart(whole, at["listening"], at["partition recalled"], processor.user + processor.system)


async def _measure(directory: Path, rounds: int) -> list[Restart]:
    with ProcessGroup(directory) as group:
        async with EmbeddedKafka(directory / "kafka", cache_dir=CACHE_DIR, group=group) as broker:
            settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
            kafka = kafka_of(settings)
            await ensure_topics(kafka)
            fleet = Fleet(group, settings, configure(directory / "config", RULES))
            fleet.start(INSTANCE)
            await _look_back(kafka)
            async with kafka.consumer(
                kafka.topic("triggers"), from_end=True, fetch_max_wait_ms=10
            ) as triggers:
                found = []
                for number in range(rounds):
                    found.append(await _one(kafka, fleet, triggers, number))
                    print(f"round {number + 1}: {found[-1].whole:.2f} s", flush=True)
            await fleet.stop(INSTANCE)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restart", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backout-bench-") as name:
        found = asyncio.run(_measure(Path(name), options.rounds))
    median = statistics.median(each.whole for each in found)
    write_figures(
        "restart",
        {
            "start to first evaluation": ("s", [each.whole for each in found]),
            "of it, until Python serves /healthz": ("s", [each.python for each in found]),
            "of it, until every window is there again": ("s", [each.recalled for each in found]),
            "processor time until then": ("s", [each.processor for each in found]),
        },
        {"target / median": TARGET_S / median},
    )
    print(f"the target of {TARGET_S:g} s is {'met' if median <= TARGET_S else 'missed'}")
    return 0 if median <= TARGET_S else 1


if __name__ == "__main__":
    sys.exit(main())
