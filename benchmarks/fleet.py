"""A service as processes that are killed and started again, and what every torture of one shares."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from chassis.embedded.process_group import ManagedProcess, ProcessGroup
from chassis.kafka import Kafka, TopicPartition, read_range
from chassis.settings import KafkaSettings, Settings
from chassis.supervisor import is_ready, port_of
from examples.demo.leftovers import processes_of
from schemas.registry import AnyEvent, read_event
from schemas.topics import TopicId

REPOSITORY = Path(__file__).parents[1]


@dataclass
class Fleet:
    """Processes of one service by the name of their instance, in one namespace, with one configuration."""

    group: ProcessGroup
    kafka: KafkaSettings
    directory: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    running: dict[str, ManagedProcess] = field(default_factory=dict)
    service: str = "monitor"

    def start(self, instance: str) -> None:
        """Begin one; it is not waited for."""
        self._port_file(instance).unlink(missing_ok=True)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BACKOUT_")},
            "PYTHONPATH": str(REPOSITORY),
            "BACKOUT_SETTINGS_FILE": os.devnull,
            "BACKOUT_CONFIG_DIR": str(self.directory),
            "BACKOUT_INSTANCE": instance,
            "BACKOUT_HTTP__PORT_FILE": str(self._port_file(instance)),
            "BACKOUT_KAFKA__BOOTSTRAP_SERVERS": str(self.kafka.bootstrap_servers),
            "BACKOUT_KAFKA__NAMESPACE": self.kafka.namespace,
            "BACKOUT_KAFKA__SESSION_TIMEOUT_MS": str(self.kafka.session_timeout_ms),
            **self.variables,
        }
        with self.log_file(instance).open("ab") as log:
            argv = [sys.executable, "-m", "cli.main", "run", self.service]
            self.running[instance] = self.group.spawn(
                instance, argv, env=environment, stdout=log, stop_timeout_s=30.0
            )

    def kill(self, instance: str) -> None:
        """``kill -9``."""
        process = self.running.pop(instance)
        process.popen.kill()
        process.popen.wait()
        self.group.forget(process)

    async def freeze(self, instance: str, for_s: float) -> None:
        """SIGSTOP, and SIGCONT after ``for_s`` seconds."""
        process = self.running[instance].popen
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(for_s)
        finally:
            process.send_signal(signal.SIGCONT)

    async def stop(self, instance: str) -> int:
        """SIGTERM, and wait for its end; its exit status."""
        process = self.running.pop(instance)
        status = await asyncio.to_thread(process.stop)
        self.group.forget(process)
        return status

    def died(self) -> dict[str, int]:
        """Those that ended of themselves, with their exit status."""
        statuses = {name: process.exit_status() for name, process in self.running.items()}
        return {name: status for name, status in statuses.items() if status is not None}

    def is_ready(self, instance: str) -> bool:
        return is_ready(port_of(self._port_file(instance)))

    def state(self, instance: str) -> str:
        """What it says of itself: /readyz, and its figures that are not 0."""
        port = port_of(self._port_file(instance))
        said = []
        for path in ("readyz", "metrics"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", f"/{path}")
                said += connection.getresponse().read().decode().splitlines()
            except (OSError, http.client.HTTPException) as error:
                said.append(f"{path}: {error}")
            finally:
                connection.close()
        return "\n".join(line for line in said if not line.startswith("#") and not line.endswith(" 0.0"))

    def log_file(self, instance: str) -> Path:
        return self.directory / f"{instance}.log"

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of everyone's log."""
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(
            f"{log.stem}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
            for log in logs
        )

    def _port_file(self, instance: str) -> Path:
        return self.directory / f"{instance}.port"


def kafka_of(settings: KafkaSettings) -> Kafka:
    """Clients of the torture itself."""
    return Kafka.of(Settings(kafka=settings), "torture")


async def events_on(kafka: Kafka, topic: TopicId) -> list[AnyEvent]:
    """Every committed event of a topic with one partition, in the order of the log."""
    place = TopicPartition(kafka.topic(topic), 0)
    async with kafka.reader(place) as reader:
        end = (await reader.end_offsets([place]))[place]
    values: list[bytes | None] = []
    await read_range(kafka, place, 0, end - 1, each=lambda record: values.append(record.value))
    return [read_event(value) for value in values]


class Found(Protocol):
    """What a torture found; as text, a line that says how it went."""

    problems: list[str]


def report_torture(of_what: str, seed: int, play: Callable[[Path], Coroutine[Any, Any, Found]]) -> int:
    """Play in a directory of its own, and print the seed and what was found; the exit status is 0 if
    nothing went wrong and no process is left behind."""
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="backout-torture-") as name:
        outcome = asyncio.run(play(Path(name)))
        left = processes_of(Path(name))
    for problem in outcome.problems:
        print(f"  {problem}")
    print(f"torture of {of_what}: {outcome}; left behind {len(left)}")
    return 0 if not outcome.problems and not left else 1
