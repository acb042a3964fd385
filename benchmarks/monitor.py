"""``make bench ONLY=monitor``: the monitor beside a bare consumer of the same messages.

A million single samples (100 series, 4 partitions) are on a real Kafka. In turns, each in a
process of its own, a bare aiokafka consumer decodes them with msgspec, and the monitor decodes,
folds and evaluates them with 100 trigger instances, and writes triggers, states and checkpoints.
A run's rate is counted from the end of its first portion to its last sample. Exit status 1 if
the monitor's median is below half of the bare consumer's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from prometheus_client import CollectorRegistry

from benchmarks.figures import write_figures
from chassis.embedded.kafka import THROUGHPUT, EmbeddedKafka
from chassis.kafka import Kafka
from chassis.kafka_admin import ensure_topics
from chassis.settings import KafkaSettings, MonitorSettings, Settings
from schemas.metrics import decode_sample
from schemas.topics import TopicId
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.metrics import MonitorMetrics
from services.monitor.adapters.topic_range import topic_ends
from services.monitor.handlers.ports import Decided
from services.monitor.main import open_watch

MESSAGES = 1_000_000
ROUNDS = 5
TARGET = 0.5
COMPONENTS = [f"component_{number:02d}" for number in range(10)]
METRICS = [f"metric_{number:02d}_ms" for number in range(10)]
AGGREGATES = ("last", "last", "last", "last", "avg", "max", "min", "sum", "count", "p95")
BARE, MONITOR = "bare consumer", "monitor"
PARTITIONS = 4


def main() -> int:
    options = _parse()
    if options.measure:
        rate = asyncio.run(_measure(options.measure, options.bootstrap, Path(options.directory)))
        print(json.dumps(rate))
        return 0
    with tempfile.TemporaryDirectory(prefix="backout-bench-") as name, _kafka(Path(name)) as bootstrap:
        rates = _rounds(bootstrap, Path(name), options.messages, options.rounds)
    medians = {label: statistics.median(runs) for label, runs in rates.items()}
    ratio = medians[MONITOR] / medians[BARE]
    write_figures(
        "monitor",
        {label: ("samples/s", runs) for label, runs in rates.items()},
        {"monitor / bare consumer": ratio},
    )
    verdict = "met" if ratio >= TARGET else "missed"
    print(f"the monitor has {ratio:.2f} of the bare consumer's rate; the target of {TARGET} is {verdict}")
    return 0 if ratio >= TARGET else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitor", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--measure", choices=(BARE, MONITOR), help=argparse.SUPPRESS)
    parser.add_argument("--bootstrap", help=argparse.SUPPRESS)
    parser.add_argument("--directory", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextlib.contextmanager
def _kafka(directory: Path) -> Iterator[str]:
    given = os.environ.get("BACKOUT_KAFKA__BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    cache = Path(os.environ.get("BACKOUT_CACHE_DIR", "~/.cache/backout"))
    with EmbeddedKafka(directory / "kafka", cache_dir=cache, jvm_options=THROUGHPUT) as kafka:
        yield kafka.bootstrap_servers


def _rounds(bootstrap: str, directory: Path, messages: int, rounds: int) -> dict[str, list[float]]:
    _configure(directory)
    began = time.monotonic()
    size = asyncio.run(_produce(_settings(bootstrap, directory), messages))
    print(f"{messages} samples of {size:.0f} bytes appended in {time.monotonic() - began:.1f} s", flush=True)
    rates: dict[str, list[float]] = {BARE: [], MONITOR: []}
    for number in range(rounds):
        # Each goes first in turn, so that neither has the warmer cache every time.
        for label in (BARE, MONITOR) if number % 2 == 0 else (MONITOR, BARE):
            rates[label].append(_run(label, bootstrap, directory))
            print(f"round {number + 1}: {label}: {rates[label][-1]:,.0f} samples/s", flush=True)
    return rates


def _run(label: str, bootstrap: str, directory: Path) -> float:
    argv = [sys.executable, "-m", "benchmarks.monitor", "--measure", label]
    argv += ["--bootstrap", bootstrap, "--directory", str(directory)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{label} failed:\n{done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def _configure(directory: Path) -> None:
    """Ten triggers on ten components."""
    lines = ["triggers:"]
    for metric, aggregate in zip(METRICS, AGGREGATES, strict=True):
        span = "staleness: 30s" if aggregate == "last" else f"aggregate: {aggregate}, window: 1m"
        threshold = {"sum": 180_000, "count": 55}.get(aggregate, 3_000)
        operator = "<" if aggregate == "count" else ">"
        lines.append(
            f'  - {{name: {metric}, metric: {metric}, {span}, when: "{operator} {threshold}", for: 30s}}'
        )
    (directory / "rollback").mkdir()
    (directory / "rollback" / "triggers.yml").write_text("\n".join(lines) + "\n")
    (directory / "targets.yml").write_text('default: "{component}"\n')


def _settings(bootstrap: str, directory: Path) -> Settings:
    return Settings(
        config_dir=directory,
        kafka=KafkaSettings(bootstrap_servers=bootstrap, namespace="bench."),
        monitor=MonitorSettings(silence_s=3_600),
    )


def _messages(count: int) -> Iterator[tuple[str, bytes]]:
    """Each series has a sample a second; each is over the threshold for 90 s every half hour."""
    series = [(metric, component) for metric in METRICS for component in COMPONENTS]
    start = int(time.time()) - count // len(series) - 60
    for number in range(count):
        second, index = divmod(number, len(series))
        metric, component = series[index]
        slow = (second + 173 * index) % 1_800 < 90
        value = (4_000 if slow else 2_000) + (number * 7_919) % 500 + 0.25
        text = (
            f'{{"metric":"{metric}","component":"{component}","value":{value},'
            f'"time":{start + second}.{index % 100:02d},'
            f'"labels":{{"host":"node-{index % 7:02d}","zone":"eu-central-1a","version":"4.2.0"}}}}'
        )
        yield component, text.encode()


async def _produce(settings: Settings, count: int) -> float:
    """Append the messages, keyed by component; their mean size in bytes."""
    kafka = Kafka.of(settings, "bench")
    await ensure_topics(kafka)
    topic = kafka.topic("metrics")
    partitions = list(range(PARTITIONS))
    place = {
        component: DefaultPartitioner()(component.encode(), partitions, partitions)
        for component in COMPONENTS
    }
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers, max_batch_size=512 * 1024)
    total = 0
    async with producer:
        batches = {number: producer.create_batch() for number in partitions}
        sent: list[Any] = []
        for component, value in _messages(count):
            number = place[component]
            total += len(value)
            key = component.encode()
            while batches[number].append(key=key, value=value, timestamp=None) is None:
                sent.append(await producer.send_batch(batches[number], topic, partition=number))
                batches[number] = producer.create_batch()
        for number, batch in batches.items():
            sent.append(await producer.send_batch(batch, topic, partition=number))
        await asyncio.gather(*sent)
    return total / count


async def _measure(label: str, bootstrap: str, directory: Path) -> float:
    settings = _settings(bootstrap, directory)
    kafka = Kafka.of(settings, "bench")
    if label == BARE:
        return await _bare(kafka)
    return await _monitor(settings, _FreshStates(kafka, settings))


class _FreshStates(Kafka):
    """The metrics of all runs, with states, triggers and a group of this run's own."""

    def __init__(self, shared: Kafka, settings: Settings) -> None:
        own = settings.kafka.model_copy(update={"namespace": f"bench.{secrets.token_hex(4)}."})
        super().__init__(shared.bootstrap_servers, own, client_id="bench")
        self._shared = shared

    def topic(self, topic: TopicId) -> str:
        return self._shared.topic(topic) if topic == "metrics" else super().topic(topic)


class _Stopwatch:
    """Counts from the end of the first portion."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._seen = 0
        self._first = 0
        self._began = 0.0
        self._ended = 0.0

    def portion(self, count: int) -> None:
        self._seen += count
        self.done()
        if self._first == 0:
            self._first, self._began = count, self._ended

    def done(self) -> None:
        """Something was finished: the time runs until here at least."""
        self._ended = time.perf_counter()

    @property
    def complete(self) -> bool:
        return self._seen >= self._total

    @property
    def rate(self) -> float:
        """Samples a second, the first portion left out of both."""
        return (self._seen - self._first) / (self._ended - self._began)


async def _bare(kafka: Kafka) -> float:
    topic = kafka.topic("metrics")
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    async with consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        watch = _Stopwatch(sum(ends.values()))
        while True:
            fetched = await consumer.getmany(timeout_ms=200)
            count = 0
            for records in fetched.values():
                count += len([decode_sample(record.value) for record in records])
            if count:
                watch.portion(count)
            if watch.complete:
                return watch.rate


class _Meter(MonitorMetrics):
    """The monitor's own figures, and the stopwatch; the last write is in the time, too."""

    def __init__(self, watch: _Stopwatch, stop: asyncio.Event) -> None:
        super().__init__(CollectorRegistry())
        self._watch = watch
        self._stop = stop

    def taken(self, partition: int, *, samples: int, late: int) -> None:
        super().taken(partition, samples=samples, late=late)
        self._watch.portion(samples)
        if self._watch.complete:
            self._stop.set()

    def written(self, partition: int, decided: Decided) -> None:
        super().written(partition, decided)
        self._watch.done()


async def _monitor(settings: Settings, kafka: Kafka) -> float:
    await ensure_topics(kafka)
    stop = asyncio.Event()
    watch = _Stopwatch(sum(end for _, end in (await topic_ends(kafka)).values()))
    config = load_config(settings.config_dir)
    async with contextlib.AsyncExitStack() as stack:
        loop, _ = await open_watch(stack, settings, kafka, config, _Meter(watch, stop))
        await loop.run(stop)
    return watch.rate


if __name__ == "__main__":
    sys.exit(main())
