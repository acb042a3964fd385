"""The stage of the analyzer's tests: a real analyzer process, and the other services' events as a
test writes them."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from chassis.kafka import Kafka, TopicPartition, read_range
from chassis.settings import Settings
from schemas.dead_letters import DeadLetterPlace
from schemas.incidents import IncidentEvent
from schemas.registry import AnyEvent, read_event
from schemas.topics import TopicId, all_topics, topic_name
from services.analyzer.adapters.stream import TABLE
from tests import polling
from tests.integration.conftest import COMMAND, clean_environment, settings_as_variables
from tests.unit.analyzer.scenario import Scenario

ROOT = Path(__file__).parents[3]


def scenario_of_now(**fields: Any) -> Scenario:
    """An incident that has just ended, 90 s after its breach began."""
    start = (datetime.now(UTC) - timedelta(seconds=100)).replace(microsecond=0)
    return Scenario(start=start, **fields)


@dataclass
class Analyzers:
    """Starts analyzer processes in a test's namespace and database, and ends them all."""

    settings: Settings
    directory: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *, ready: bool = True, **variables: str) -> subprocess.Popen[bytes]:
        """Start one; with ``ready``, wait until it says that it is."""
        number = len(self.running)
        port_file = self.directory / f"analyzer-{number}.port"
        env = clean_environment(
            **settings_as_variables(self.settings),
            **{
                "BACKOUT_INSTANCE": "one",
                "PYTHONWARNINGS": "error",
                "BACKOUT_HTTP__PORT_FILE": str(port_file),
                "BACKOUT_ANALYZER__SETTLE_S": "0.5",
                "BACKOUT_ANALYZER__CLOSE_AFTER_S": "4",
                **variables,
            },
        )
        with self.log(number).open("wb") as output:
            process = subprocess.Popen(
                [*COMMAND, "run", "analyzer"], cwd=ROOT, env=env, stdout=output, stderr=output
            )
        self.running.append(process)
        if ready:
            polling.poll_until(lambda: self._is_ready(process, port_file), 40, f"analyzer {number}")
        return process

    def log(self, number: int) -> Path:
        return self.directory / f"analyzer-{number}.log"

    def _is_ready(self, process: subprocess.Popen[bytes], port_file: Path) -> bool:
        assert process.poll() is None, self.log(self.running.index(process)).read_text(encoding="utf-8")
        if not port_file.exists():
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port_file.read_text()}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def killed(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the process has died of an armed failpoint."""
        polling.poll_until(lambda: process.poll() is not None, 40, "the failpoint")
        assert process.returncode == -signal.SIGKILL

    def frozen(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until an armed failpoint has stopped the process."""
        polling.poll_until(lambda: polling.is_stopped(process.pid), 40, "the freeze")

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End one in order."""
        process.terminate()
        process.wait(30)
        assert process.returncode == 0, self.log(self.running.index(process)).read_text(encoding="utf-8")

    def end(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()


@dataclass
class Topics:
    """Writes what the other services write, and reads what the analyzer writes."""

    kafka: Kafka

    async def write(self, topics: Mapping[str, Sequence[AnyEvent]], order: Iterable[str] = ()) -> None:
        """Write events, topic after topic."""
        async with self.kafka.producer() as producer:
            for topic in order or topics:
                for event in topics[topic]:
                    await producer.send(self._name(topic), event.to_bytes(), key=event.subject.encode())

    async def write_samples(self, scenario: Scenario, begin: int = -60, end: int = 95) -> None:
        async with self.kafka.producer() as producer:
            for value, _ in scenario.samples(begin, end):
                await producer.send(self._name("metrics"), value, key=scenario.component.encode())

    async def write_value(self, topic: str, value: bytes | None) -> None:
        async with self.kafka.producer() as producer:
            await producer.send(self._name(topic), value, key=b"pdf_extraction")

    def _name(self, topic: str) -> str:
        return self.kafka.topic(_topic_id(topic))

    async def pass_over(self, group: str) -> None:
        """Commit a group's offsets at the ends of the topics, as if it had read all there is."""
        parts = [TopicPartition(self._name(topic), 0) for topic in ("triggers", "rollbacks", "notifications")]
        async with self.kafka.consumer(*(part.topic for part in parts), group=group) as member:
            while not member.assignment().issuperset(parts):
                await member.getmany(timeout_ms=100)
            await member.commit(await member.end_offsets(parts))

    async def changes_of_the_table(self) -> int:
        """The end of the changelog of open incidents."""
        partition = TopicPartition(f"{self.kafka.group('analyzer')}-{TABLE}-changelog", 0)
        async with self.kafka.reader(partition) as reader:
            return (await reader.end_offsets([partition]))[partition]

    async def incidents(self) -> list[IncidentEvent]:
        """Every event on the incidents topic, in order."""
        found = []
        for value, _ in await self._read("incidents"):
            data = read_event(value).data
            assert isinstance(data, IncidentEvent)
            found.append(data)
        return found

    async def dead_letters(self) -> list[DeadLetterPlace]:
        return [DeadLetterPlace.from_headers(headers) for _, headers in await self._read("dead-letter")]

    async def _read(self, topic: str) -> list[tuple[bytes | None, list[tuple[str, bytes]]]]:
        partition = TopicPartition(self._name(topic), 0)
        found: list[tuple[bytes | None, list[tuple[str, bytes]]]] = []
        async with self.kafka.reader(partition) as reader:
            end = (await reader.end_offsets([partition]))[partition]
        await read_range(
            self.kafka,
            partition,
            0,
            end - 1,
            each=lambda record: found.append((record.value, list(record.headers))),
        )
        return found


def _topic_id(name: str) -> TopicId:
    return next(topic for topic in all_topics() if topic == name)


async def rows(settings: Settings, view: str = "incidents") -> list[dict[str, Any]]:
    """A view that people read."""
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        return [dict(row) for row in await connection.fetch(f"SELECT * FROM backout.{view}")]  # noqa: S608
    finally:
        await connection.close()


async def until(
    settings: Settings, condition: Callable[[dict[str, dict[str, Any]]], object], timeout_s: float = 40
) -> dict[str, dict[str, Any]]:
    """Wait until the incidents, by id, are as wanted; returns them."""

    async def found() -> dict[str, dict[str, Any]]:
        return {row["incident_id"]: row for row in await rows(settings)}

    return await polling.until(found, condition, timeout_s=timeout_s, every_s=0.1, what="the incidents")


async def until_told(settings: Settings) -> None:
    """Wait until the events that go with what the tables say are on their topic, too."""
    connection = await asyncpg.connect(settings.postgres_dsn)
    nothing_left = "SELECT NOT EXISTS (SELECT FROM analyzer.outbox WHERE sent_at IS NULL)"
    try:
        await polling.eventually(lambda: connection.fetchval(nothing_left), 40, "the outbox is sent")
    finally:
        await connection.close()


async def until_forgotten(settings: Settings, topic: str, records: int, timeout_s: float = 40) -> None:
    """Wait until so many records of a topic have been read and nothing is kept of any incident."""
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        await polling.eventually(
            lambda: connection.fetchval(_FORGOTTEN, topic, records), timeout_s, "the forgetting"
        )
    finally:
        await connection.close()


async def until_read(settings: Settings, records: Mapping[TopicId, int]) -> None:
    """Wait until so many records of each topic have been handled."""
    connection = await asyncpg.connect(settings.postgres_dsn)

    async def read() -> dict[str, int]:
        rows = await connection.fetch("SELECT topic, next_offset FROM analyzer.progress")
        return {row["topic"]: row["next_offset"] for row in rows}

    wanted = {topic_name(topic, settings.kafka.namespace): count for topic, count in records.items()}
    try:
        await polling.until(
            read, lambda found: wanted.items() <= found.items(), timeout_s=40, what="the reading"
        )
    finally:
        await connection.close()


_FORGOTTEN = """
SELECT EXISTS (SELECT FROM analyzer.progress WHERE topic = $1 AND next_offset >= $2)
    AND NOT EXISTS (SELECT FROM analyzer.members) AND NOT EXISTS (SELECT FROM analyzer.archive)
"""


def reported(incident_id: str) -> Callable[[dict[str, dict[str, Any]]], object]:
    """The incident is closed and its report is there."""
    return lambda found: incident_id in found and found[incident_id]["report_sha256"]


def read_report(row: Mapping[str, Any]) -> dict[str, Any]:
    """The stored report."""
    found: dict[str, Any] = json.loads((Path(row["report_dir"]) / "report.json").read_bytes())
    return found


async def drop_connections(settings: Settings) -> int:
    """End every connection of the analyzer, as a failover of the database does; returns how many."""
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        found = await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'backout-analyzer'"
        )
        return len(found)
    finally:
        await connection.close()
