"""One run over a topic of samples, in a process of its own: a bare consumer or the monitor.

    python -m benchmarks.one_run bare|monitor BOOTSTRAP NAMESPACE CONFIG SAMPLES

The rate is counted from the end of the first portion to the last sample. The monitor decodes,
folds, evaluates, and writes triggers, states and checkpoints; the bare consumer decodes with
msgspec. Prints rate (samples/s), cpu_rate (samples a second of the
processor's time) and rss_mib (the greatest) as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from prometheus_client import CollectorRegistry

from benchmarks.load import settings_of
from chassis.kafka import Kafka
from chassis.kafka_admin import ensure_topics
from chassis.settings import Settings
from schemas.metrics import decode_batch, decode_sample
from schemas.topics import TopicId
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.metrics import MonitorMetrics
from services.monitor.handlers.ports import Decided
from services.monitor.main import open_watch


def main() -> None:
    what, bootstrap, namespace, directory, samples = sys.argv[1:]
    settings = settings_of(bootstrap, Path(directory), namespace)
    kafka = Kafka.of(settings, "bench")
    watch = Stopwatch(int(samples))
    if what == "bare":
        asyncio.run(_bare(kafka, watch))
    else:
        asyncio.run(_monitor(settings, _FreshStates(kafka, settings), watch))
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    print(json.dumps({"rate": watch.rate, "cpu_rate": watch.cpu_rate, "rss_mib": rss}))


class Stopwatch:
    """Counts from the end of the first portion."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._seen = 0
        self._first = 0
        self._began = self._ended = 0.0
        self._cpu_began = self._cpu_ended = 0.0

    def portion(self, count: int) -> None:
        self._seen += count
        self.done()
        if self._first == 0:
            self._first, self._began, self._cpu_began = count, self._ended, self._cpu_ended

    def done(self) -> None:
        """Something was finished: the time runs until here at least."""
        self._ended, self._cpu_ended = time.perf_counter(), time.process_time()

    @property
    def complete(self) -> bool:
        return self._seen >= self._total

    @property
    def rate(self) -> float:
        """Samples a second, the first portion left out of both."""
        return (self._seen - self._first) / (self._ended - self._began)

    @property
    def cpu_rate(self) -> float:
        """Samples a second of the processor's time: on a busy machine it is steadier."""
        return (self._seen - self._first) / (self._cpu_ended - self._cpu_began)


async def _bare(kafka: Kafka, watch: Stopwatch) -> None:
    consumer = AIOKafkaConsumer(
        kafka.topic("metrics"),
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    count: Callable[[Any], int] | None = None
    async with consumer:
        while not watch.complete:
            fetched = await consumer.getmany(timeout_ms=200)
            taken = 0
            for records in fetched.values():
                count = count or (_in_batches if b'"samples"' in records[0].value else _single)
                taken += count(records)
            if taken:
                watch.portion(taken)


def _single(records: Any) -> int:
    return len([decode_sample(record.value) for record in records])


def _in_batches(records: Any) -> int:
    return sum(len(decode_batch(record.value).samples) for record in records)


class _FreshStates(Kafka):
    """The metrics of all runs, with states, triggers and a group of this run's own."""

    def __init__(self, shared: Kafka, settings: Settings) -> None:
        own = settings.kafka.model_copy(update={"namespace": f"bench.{secrets.token_hex(4)}."})
        super().__init__(shared.bootstrap_servers, own, client_id="bench")
        self._shared = shared

    def topic(self, topic: TopicId) -> str:
        return self._shared.topic(topic) if topic == "metrics" else super().topic(topic)


class _Meter(MonitorMetrics):
    """The monitor's own figures, and the stopwatch; the last write is in the time, too."""

    def __init__(self, watch: Stopwatch, stop: asyncio.Event) -> None:
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


async def _monitor(settings: Settings, kafka: Kafka, watch: Stopwatch) -> None:
    await ensure_topics(kafka)
    stop = asyncio.Event()
    config = load_config(settings.config_dir)
    async with contextlib.AsyncExitStack() as stack:
        loop, _ = await open_watch(stack, settings, kafka, config, _Meter(watch, stop))
        await loop.run(stop)


if __name__ == "__main__":
    main()
