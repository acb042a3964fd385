"""``make bench ONLY=announce``: from the append of the deciding record to the trigger on its topic.

A live monitor with 1,000 trigger instances reads 50,000 samples a second of 100 series, which
another process publishes steadily. Five times a second a component of its own begins to breach.
The deciding record is the first one on the component's partition that moves the watermark to the
deciding second; the end is when a consumer of committed records, here, has the trigger's event in
its hands. Exit status 1 if p99 is 50 ms or more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from benchmarks.figures import Target, report
from benchmarks.load import PARTITIONS, broker
from benchmarks.workload import Workload
from chassis.kafka import Kafka, partition_for_key
from chassis.kafka_admin import ensure_topics
from chassis.settings import KafkaSettings
from schemas.registry import read_event
from schemas.triggers import TriggerEvent

RATE, SECONDS = 50_000, 30
TICK_S = 0.01
PROBE_EVERY = 20
"""Ticks from one component that begins to breach to the next."""
WARM_S = 6.0
TURNS = 200
WORKLOAD_S = 1_000
LATENESS_S = 2.0
TARGET_MS = 50.0
PROBE = """\
  - {name: probe, metric: probe_ms, aggregate: last, staleness: 30s, when: "> 3000", for: 0s, min_samples: 1}
"""


class Batch(NamedTuple):
    """Records that were appended together; times in seconds. All have the time ``time``."""

    partition: int
    time: float
    appended: float

    def reaches(self, second: float) -> bool:
        return min(self.time, self.appended) - LATENESS_S >= second


class Sent(NamedTuple):
    batches: list[Batch]
    probes: dict[str, float]
    """When each component's sample was made."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.announce", description=__doc__)
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--publish", nargs=2, metavar=("BOOTSTRAP", "NAMESPACE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        sent = asyncio.run(_publish(options.publish[0], options.publish[1], options.rate, options.seconds))
        print(json.dumps({"batches": sent.batches, "probes": sent.probes}))
        return 0
    with tempfile.TemporaryDirectory(prefix="backout-bench-") as name, broker(Path(name)) as bootstrap:
        latencies, reached = asyncio.run(_measure(Path(name), bootstrap, options.rate, options.seconds))
    latencies.sort()
    figures = {
        "append of the deciding record to the trigger": ("ms", latencies),
        "samples": ("samples/s", [reached]),
    }
    p99 = latencies[-(-99 * len(latencies) // 100) - 1]
    return report(
        "announce",
        figures,
        [
            Target("p50, ms", latencies[len(latencies) // 2]),
            Target("p99, ms", p99, below=TARGET_MS),
            Target("samples/s published", reached, at_least=0.98 * options.rate),
        ],
    )


async def _measure(directory: Path, bootstrap: str, rate: int, seconds: int) -> tuple[list[float], float]:
    """The latencies in ms, and the samples a second that were published."""
    namespace = f"bench-{secrets.token_hex(4)}."
    kafka = Kafka(bootstrap, KafkaSettings(namespace=namespace), client_id="bench")
    await ensure_topics(kafka)
    config = directory / "config"
    await asyncio.to_thread(_configure, config, rate)
    arrived: dict[str, tuple[float, float]] = {}
    argv = [sys.executable, "-m", "benchmarks.announce", "--publish", bootstrap, namespace]
    argv += ["--rate", str(rate), "--seconds", str(seconds)]
    with _monitor(_environment(directory, bootstrap, namespace), directory):
        listening = asyncio.create_task(_listen(kafka, arrived))
        publisher = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
        output, _ = await publisher.communicate()
        if publisher.returncode != 0:
            raise SystemExit("the publisher failed")
        # The last triggers are decided by what came before the end.
        await asyncio.sleep(2.0)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    sent = json.loads(output)
    batches = [Batch(*each) for each in sent["batches"]]
    begin = min(each.time for each in batches)
    took = max(each.time for each in batches) - begin
    found = _latencies(
        batches, arrived, {name: at for name, at in sent["probes"].items() if at > begin + WARM_S}
    )
    return found, rate * seconds / max(took, 1e-9)


def _latencies(
    batches: Sequence[Batch], arrived: Mapping[str, tuple[float, float]], probes: Mapping[str, float]
) -> list[float]:
    last = max(each.time for each in batches)
    found = []
    for name, made in probes.items():
        if made > last - LATENESS_S - 2.0:
            continue
        if name not in arrived:
            raise SystemExit(f"the trigger of {name} never came: see whether the monitor works")
        second, at = arrived[name]
        partition = partition_for_key(name.encode(), PARTITIONS)
        own = (each for each in batches if each.partition == partition)
        deciding = next((each for each in own if each.reaches(second)), None)
        # After its last batch a partition of few samples gets its time from a clock record.
        if deciding is not None:
            found.append(1_000 * (at - deciding.appended))
    return found


def _configure(directory: Path, rate: int) -> None:
    # Thresholds of sums and counts go by the rate of the samples.
    Workload(samples=rate * WORKLOAD_S, seconds=WORKLOAD_S).configure(directory)
    with (directory / "rollback" / "triggers.yml").open("a", encoding="utf-8") as file:
        file.write(PROBE)


def _environment(directory: Path, bootstrap: str, namespace: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("BACKOUT_")},
        "BACKOUT_CONFIG_DIR": str(directory / "config"),
        "BACKOUT_STATE_DIR": str(directory),
        "BACKOUT_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "BACKOUT_KAFKA__NAMESPACE": namespace,
        "BACKOUT_MONITOR__ALLOWED_LATENESS_S": str(LATENESS_S),
        "BACKOUT_HTTP__PORT_FILE": str(directory / "monitor.port"),
    }


@contextlib.contextmanager
def _monitor(environment: Mapping[str, str], directory: Path) -> Iterator[None]:
    with (directory / "monitor.log").open("wb") as output:
        argv = [sys.executable, "-m", "cli.main", "run", "monitor"]
        process = subprocess.Popen(argv, env=environment, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _listen(kafka: Kafka, arrived: dict[str, tuple[float, float]]) -> None:
    """Note, by component, the deciding second of each probe's trigger, and when it arrived."""
    async with kafka.consumer(kafka.topic("triggers")) as consumer:
        while True:
            fetched = await consumer.getmany(timeout_ms=1_000)
            at = time.time()
            for record in itertools.chain.from_iterable(fetched.values()):
                data = read_event(record.value).data
                if isinstance(data, TriggerEvent) and data.kind == "fired" and data.trigger == "probe":
                    arrived.setdefault(data.component, (data.at.timestamp(), at))


async def _publish(bootstrap: str, namespace: str, rate: int, seconds: int) -> Sent:
    """At each tick a batch to each partition, as its series come; a probe now and then."""
    topic = Kafka(bootstrap, KafkaSettings(namespace=namespace), client_id="bench").topic("metrics")
    parts = _parts()
    share = [rate * TICK_S * len(texts) / sum(map(len, parts)) for texts in parts]
    coming = [itertools.cycle(texts) for texts in parts]
    waiting: list[asyncio.Task[Batch]] = []
    probes: dict[str, float] = {}
    owed = [0.0] * PARTITIONS
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=512 * 1024) as producer:
        begin = time.time() + 0.5
        for tick in range(round(seconds / TICK_S)):
            await asyncio.sleep(max(0.0, begin + tick * TICK_S - time.time()))
            now = time.time()
            probe = f"probe-{tick // PROBE_EVERY:04d}" if tick % PROBE_EVERY == 0 else None
            for partition, texts in enumerate(coming):
                batch = producer.create_batch()
                owed[partition] += share[partition]
                for _ in range(int(owed[partition])):
                    value = f"{next(texts)}{now:.4f}}}".encode()
                    batch.append(key=None, value=value, timestamp=None)
                owed[partition] %= 1.0
                if probe is not None and partition_for_key(probe.encode(), PARTITIONS) == partition:
                    text = f'{{"metric":"probe_ms","component":"{probe}","value":4000,"time":{now:.4f}}}'
                    batch.append(key=None, value=text.encode(), timestamp=None)
                    probes[probe] = now
                if batch.record_count() == 0:
                    continue
                future = await producer.send_batch(batch, topic, partition=partition)
                waiting.append(asyncio.create_task(_appended(future, partition, now)))
        return Sent(await asyncio.gather(*waiting), probes)


async def _appended(future: asyncio.Future[object], partition: int, now: float) -> Batch:
    meta = await future
    return Batch(partition, now, meta.timestamp / 1_000)  # type: ignore[attr-defined]


def _parts() -> list[list[str]]:
    """For each partition the texts of its series' samples for some turns, but for the time."""
    workload = Workload()
    parts: list[list[str]] = [[] for _ in range(PARTITIONS)]
    names = list(itertools.product(workload.metric_names, workload.component_names))
    for turn in workload.values()[:TURNS].tolist():
        for (metric, component), value in zip(names, turn, strict=True):
            text = f'{{"metric":"{metric}","component":"{component}","value":{value},"time":'
            parts[partition_for_key(component.encode(), PARTITIONS)].append(text)
    return parts


if __name__ == "__main__":
    sys.exit(main())
