"""``make bench ONLY=latency``: how long it takes from a sample to the executor's first act.

A real monitor and a real executor, each a process, on a real Kafka and Postgres, roll 200
components back, a few each second, on a target that notes when it is first asked to change
something. Twice:

- with the default lateness, from the append of the record that moves the watermark to the deciding
  second: what the control plane itself takes (p99 below 500 ms);
- with ``allowed_lateness`` 0 and a sample every second, from the append of the first breaching
  sample: what a user sees (p99 below 1.5 s, of which 1 s is the wait for the next sample).

Exit status 1 if one of them is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from benchmarks.figures import write_figures
from benchmarks.load import CACHE_DIR
from chassis.embedded.kafka import EmbeddedKafka
from chassis.embedded.postgres import EmbeddedPostgres
from chassis.kafka import Appended, Kafka, Producer, Record, TopicPartition, partition_for_key, read_range
from chassis.kafka_admin import ensure_topics
from chassis.settings import NO_SETTINGS_FILE, KafkaSettings, without_settings
from schemas.registry import read_event
from schemas.topics import all_topics
from schemas.triggers import TriggerEvent

RUNS = 200
PATIENCE_S = 60.0
PARTITIONS = all_topics()["metrics"].partitions
METRIC = "response_time_p95_ms"

TRIGGERS = f"""\
triggers:
  - {{name: p95, metric: {METRIC}, aggregate: last, staleness: 30s, when: "> 3000", for: 0s, min_samples: 1,
     group_by: [component], severity: critical, then: {{rollback: "{{component}}"}}}}
"""
PLAYBOOK = """\
playbook: {name}
deadline: 1m
require:
  - http.check: {{url: "{{target.bench}}/health"}}
steps:
  - id: switch
    http.call: {{method: PUT, url: "{{target.bench}}/components/{name}", json: {{on: false}},
                honours: [idempotency_key, epoch]}}
    observe: {{http.check: {{url: "{{target.bench}}/components/{name}", expect: {{json: {{on: false}}}}}}}}
"""


def _partition(component: str) -> int:
    return partition_for_key(component.encode(), PARTITIONS)


# One for each partition, whose samples keep its time going.
SOURCES = [
    next(name for name in (f"source-{number}" for number in range(1_000)) if _partition(name) == wanted)
    for wanted in range(PARTITIONS)
]


@dataclass(frozen=True, slots=True)
class Measure:
    """One of the two measurements."""

    label: str
    lateness_s: float
    target_ms: float


MEASURES = (
    Measure("deciding record to first act", 2.0, 500.0),
    Measure("first breaching sample to first act", 0.0, 1_500.0),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A sample and where it was appended; times in seconds."""

    component: str
    time: float
    place: Appended

    @property
    def appended(self) -> float:
        return self.place.timestamp / 1_000

    def reaches(self, second: float, lateness_s: float) -> bool:
        """Whether this record moves its partition's watermark to ``second``."""
        return min(self.time, self.appended) - lateness_s >= second


@dataclass
class Target:
    """A system with switches; ``first`` is when each component was first asked to change."""

    first: dict[str, float] = field(default_factory=dict)
    off: set[str] = field(default_factory=set)
    url: str = ""

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/components/{name}", self._show)
        app.router.add_put("/components/{name}", self._switch)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield
        finally:
            await runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response({"on": request.match_info["name"] not in self.off})

    async def _switch(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.first.setdefault(name, time.time())
        self.off.add(name)
        return await self._show(request)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    runs = parser.parse_args().runs
    latencies: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="backout-bench-") as name:
        directory = Path(name)
        with (
            EmbeddedKafka(directory / "kafka", cache_dir=CACHE_DIR) as kafka,
            EmbeddedPostgres(directory / "postgres") as postgres,
        ):
            for number, measure in enumerate(MEASURES):
                own = directory / f"measure-{number}"
                dsn = postgres.create_database(f"latency_{number}")
                found = asyncio.run(_measure(measure, runs, kafka.bootstrap_servers, dsn, own))
                latencies[measure.label] = sorted(found)
    return _report(latencies)


def _report(latencies: Mapping[str, Sequence[float]]) -> int:
    p99 = {label: _quantile(values, 0.99) for label, values in latencies.items()}
    write_figures(
        "latency",
        {label: ("ms", [round(value, 1) for value in values]) for label, values in latencies.items()},
        {f"{measure.label}, p99 / target": p99[measure.label] / measure.target_ms for measure in MEASURES},
    )
    met = True
    for measure in MEASURES:
        values = latencies[measure.label]
        met = met and p99[measure.label] < measure.target_ms
        print(
            f"{measure.label}: p50 {_quantile(values, 0.5):.0f} ms, p95 {_quantile(values, 0.95):.0f} ms, "
            f"p99 {p99[measure.label]:.0f} ms of {len(values)}; target {measure.target_ms:.0f} ms: "
            f"{'met' if p99[measure.label] < measure.target_ms else 'missed'}"
        )
    return 0 if met else 1


def _quantile(ordered: Sequence[float], q: float) -> float:
    """The nearest rank, which no interpolation makes smaller than a value that was measured."""
    return ordered[min(len(ordered) - 1, max(0, -(-int(q * 1_000) * len(ordered) // 1_000) - 1))]


async def _measure(measure: Measure, runs: int, bootstrap: str, dsn: str, directory: Path) -> list[float]:
    """The latencies of all runs, in ms."""
    components = [f"component-{number:03d}" for number in range(runs)]
    namespace = f"bench-{secrets.token_hex(4)}."
    kafka = Kafka(bootstrap, KafkaSettings(namespace=namespace), client_id="bench")
    target = Target()
    await ensure_topics(kafka)
    async with target.serve():
        await asyncio.to_thread(_configure, directory, components)
        environment = {
            **without_settings(),
            **NO_SETTINGS_FILE,
            "BACKOUT_CONFIG_DIR": str(directory / "config"),
            "BACKOUT_STATE_DIR": str(directory),
            "BACKOUT_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "BACKOUT_KAFKA__NAMESPACE": namespace,
            "BACKOUT_POSTGRES__DSN": dsn,
            "BACKOUT_MONITOR__ALLOWED_LATENESS_S": str(measure.lateness_s),
            "BACKOUT_EXECUTOR__TARGETS": json.dumps({"bench": target.url}),
        }
        with _services(environment, directory):
            async with kafka.producer() as producer:
                sent = await _play(producer, kafka.topic("metrics"), components, target)
    fired = await _fired(kafka)
    return [1_000 * (target.first[name] - _start(measure, name, fired[name], sent)) for name in components]


def _start(measure: Measure, component: str, second: float, sent: Sequence[Sent]) -> float:
    breach = next(item for item in sent if item.component == component)
    if measure.lateness_s == 0:
        return breach.appended
    reaching = (
        item
        for item in sent
        if item.place.partition == breach.place.partition and item.reaches(second, measure.lateness_s)
    )
    return min(reaching, key=lambda item: item.place.offset).appended


def _configure(directory: Path, components: Sequence[str]) -> None:
    config = directory / "config"
    (config / "rollback").mkdir(parents=True)
    (config / "playbooks").mkdir()
    (config / "rollback" / "triggers.yml").write_text(TRIGGERS, encoding="utf-8")
    (config / "targets.yml").write_text('default: "{component}"\n', encoding="utf-8")
    for name in [*components, *SOURCES]:
        (config / "playbooks" / f"{name}.yml").write_text(PLAYBOOK.format(name=name), encoding="utf-8")


@contextlib.contextmanager
def _services(environment: Mapping[str, str], directory: Path) -> Iterator[None]:
    """A monitor and an executor, ready; stopped at the end."""
    running = []
    try:
        for name in ("monitor", "executor"):
            own = {**environment, "BACKOUT_HTTP__PORT_FILE": str(directory / f"{name}.port")}
            with (directory / f"{name}.log").open("wb") as output:
                argv = [sys.executable, "-m", "cli.main", "run", name]
                running.append(subprocess.Popen(argv, env=own, stdout=output, stderr=output))
        yield
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _play(producer: Producer, topic: str, components: Sequence[str], target: Target) -> list[Sent]:
    """Every partition has a source that sends a sample each second; the sources are not in step.
    With each of its samples another of its components begins to breach."""
    sent: list[Sent] = []
    # The first rollbacks tell that both services are at work, and are not counted.
    await _warm_up(producer, topic, target)
    waiting = [[name for name in components if _partition(name) == number] for number in range(PARTITIONS)]
    begin = time.time() + 0.1
    deadline = begin + max(map(len, waiting)) + PATIENCE_S
    turn = 0
    while not all(name in target.first for name in components):
        source = turn % PARTITIONS
        await asyncio.sleep(max(0.0, begin + turn / PARTITIONS - time.time()))
        turn += 1
        sent.append(await _sample(producer, topic, SOURCES[source], 100.0))
        if waiting[source]:
            sent.append(await _sample(producer, topic, waiting[source].pop(0), 4_000.0))
        if time.time() > deadline:
            missing = [name for name in components if name not in target.first]
            raise SystemExit(f"{len(missing)} of the components were never rolled back: {missing[:5]}")
    return sent


async def _warm_up(producer: Producer, topic: str, target: Target) -> None:
    deadline = time.time() + PATIENCE_S
    while not all(name in target.first for name in SOURCES):
        for name in SOURCES:
            await _sample(producer, topic, name, 4_000.0)
        await asyncio.sleep(0.5)
        if time.time() > deadline:
            raise SystemExit("the first components were never rolled back: see whether the services start")


async def _sample(producer: Producer, topic: str, component: str, value: float) -> Sent:
    now = time.time()
    sample = {"metric": METRIC, "component": component, "value": value, "time": now}
    place = await producer.send(topic, json.dumps(sample).encode(), key=component.encode())
    return Sent(component, now, place)


async def _fired(kafka: Kafka) -> dict[str, float]:
    """The deciding second (T) of each component's trigger, in seconds since the epoch."""
    found: dict[str, float] = {}
    partition = TopicPartition(kafka.topic("triggers"), 0)
    async with kafka.reader(partition) as reader:
        end = (await reader.end_offsets([partition]))[partition]

    def each(record: Record) -> None:
        data = read_event(record.value).data
        if isinstance(data, TriggerEvent) and data.kind == "fired":
            found.setdefault(data.component, data.at.timestamp())

    await read_range(kafka, partition, 0, end - 1, each=each)
    return found


if __name__ == "__main__":
    sys.exit(main())
