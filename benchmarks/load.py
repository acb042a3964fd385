"""A broker with a workload's records on it, for the benchmarks of the monitor and of its peers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from benchmarks.workload import Workload
from chassis.embedded.kafka import THROUGHPUT, EmbeddedKafka
from chassis.kafka import Kafka, partition_for_key
from chassis.kafka_admin import ensure_topics
from chassis.settings import KafkaSettings, MonitorSettings, Settings

PARTITIONS = 4
CACHE_DIR = Path(os.environ.get("BACKOUT_CACHE_DIR", "~/.cache/backout"))
"""Where downloads are kept."""


@contextlib.contextmanager
def broker(directory: Path) -> Iterator[str]:
    """The addresses of an embedded Kafka, or of the one that the environment names."""
    given = os.environ.get("BACKOUT_KAFKA__BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    with EmbeddedKafka(directory / "kafka", cache_dir=CACHE_DIR, jvm_options=THROUGHPUT) as kafka:
        yield kafka.bootstrap_servers


def settings_of(bootstrap: str, directory: Path, namespace: str) -> Settings:
    """For a monitor of the configuration in ``directory``."""
    return Settings(
        config_dir=directory,
        kafka=KafkaSettings(bootstrap_servers=bootstrap, namespace=namespace),
        monitor=MonitorSettings(silence_s=3_600),
    )


def publish(bootstrap: str, namespace: str, workload: Workload) -> None:
    """Append the workload's records to the metrics topic of the namespace, keyed by component."""
    began = time.monotonic()
    kafka = Kafka(bootstrap, KafkaSettings(namespace=namespace), client_id="bench")
    size, records = asyncio.run(_append(kafka, workload))
    print(
        f"{workload.samples:,} samples of {workload.series:,} series in {records:,} records of "
        f"{size / records:.0f} bytes appended in {time.monotonic() - began:.1f} s",
        flush=True,
    )


async def _append(kafka: Kafka, workload: Workload) -> tuple[int, int]:
    """The records' total size in bytes, and their number."""
    await ensure_topics(kafka)
    topic = kafka.topic("metrics")
    place = {name: partition_for_key(name.encode(), PARTITIONS) for name in workload.component_names}
    size = records = 0
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, max_batch_size=512 * 1024
    ) as producer:
        batches = [producer.create_batch() for _ in range(PARTITIONS)]
        sent: list[Any] = []
        for component, value in workload.messages(workload.start):
            number = place[component]
            size, records = size + len(value), records + 1
            while batches[number].append(key=component.encode(), value=value, timestamp=None) is None:
                sent.append(await producer.send_batch(batches[number], topic, partition=number))
                batches[number] = producer.create_batch()
        for number, batch in enumerate(batches):
            sent.append(await producer.send_batch(batch, topic, partition=number))
        await asyncio.gather(*sent)
    return size, records
