"""What of ``make bench ONLY=announce`` is Kafka's: bare transactions under the same load.

    python -m benchmarks.announce_floor [--rate N] [--seconds N]

No monitor runs. Another process publishes the same samples as steadily; here, at each full second, a
transactional producer a partition begins a transaction with as many records as a trigger takes (its
event, its state, a checkpoint), by aiokafka alone. Measured is from there until a consumer of
committed records has the event in its hands: once with one producer, once with one for each of the
four partitions at the same moment, which is when a monitor has something to tell.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.announce import RATE, SECONDS
from benchmarks.figures import Target, report
from benchmarks.load import PARTITIONS, broker
from chassis.kafka import Kafka
from chassis.kafka_admin import ensure_topics
from chassis.settings import KafkaSettings

EVENT, STATE, CHECKPOINT = b"e" * 1_200, b"s" * 400, b"c" * 300
START_S, WARM_S = 3.0, 8.0
"""Nothing is sent before the one, nor counted before the other: a broker's first transactions are slow."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.announce_floor", description=__doc__)
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    options = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory(prefix="backout-bench-") as name, broker(Path(name)) as bootstrap:
        for producers in (1, PARTITIONS):
            label = f"{producers} transactions at once"
            took = asyncio.run(_measure(bootstrap, producers, options.rate, options.seconds))
            figures[label] = ("ms", sorted(took))
    targets = []
    for label, (_, took) in figures.items():
        targets += [Target(f"{label}: p50, ms", took[len(took) // 2])]
        targets += [Target(f"{label}: p99, ms", took[-(-99 * len(took) // 100) - 1])]
    return report("announce_floor", figures, targets)


async def _measure(bootstrap: str, producers: int, rate: int, seconds: int) -> list[float]:
    """From the begin of each transaction to its event, in ms."""
    namespace = f"bench-{secrets.token_hex(4)}."
    kafka = Kafka(bootstrap, KafkaSettings(namespace=namespace), client_id="bench")
    await ensure_topics(kafka)
    argv = [sys.executable, "-m", "benchmarks.announce", "--publish", bootstrap, namespace]
    argv += ["--rate", str(rate), "--seconds", str(seconds)]
    publisher = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL)
    began: dict[bytes, float] = {}
    took: list[float] = []
    listening = asyncio.create_task(_listen(kafka, began, took))
    try:
        await asyncio.gather(
            *(_write_each_second(kafka, number, seconds, began) for number in range(producers))
        )
        await asyncio.sleep(1.0)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await publisher.wait()
    return took


async def _write_each_second(kafka: Kafka, number: int, seconds: int, began: dict[bytes, float]) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers,
        transactional_id=f"floor-{kafka.topic('triggers')}-{number}",
        acks="all",
        retry_backoff_ms=5,
    ) as producer:
        start = time.time() + START_S
        for second in range(int(start) + 1, int(start) + seconds):
            await asyncio.sleep(max(0.0, second - time.time()))
            key = f"{number}/{second}".encode()
            began[key] = time.time()
            async with producer.transaction():
                sent = [await producer.send(kafka.topic("triggers"), EVENT, key=key)]
                for value in (STATE, CHECKPOINT):
                    topic = kafka.topic("trigger-states")
                    sent.append(await producer.send(topic, value, key=b"state", partition=number))
                await asyncio.gather(*sent)


async def _listen(kafka: Kafka, began: dict[bytes, float], took: list[float]) -> None:
    counted_from = time.time() + WARM_S
    async with AIOKafkaConsumer(
        kafka.topic("triggers"),
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=5,
    ) as consumer:
        async for record in consumer:
            at = time.time()
            if began[record.key] >= counted_from:
                took.append(1_000 * (at - began[record.key]))


if __name__ == "__main__":
    sys.exit(main())
