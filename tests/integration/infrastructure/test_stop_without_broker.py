"""A service that is told to stop while no broker answers ends within seconds, in good order, and loses
nothing: most supervisors kill what has not ended after ten."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.fleet import kafka_of
from benchmarks.monitor_fleet import Load, caught_up, compare, configure
from chassis.embedded.kafka import EmbeddedKafka
from chassis.kafka import Kafka
from chassis.kafka_admin import ensure_topics
from chassis.settings import SERVICES, KafkaSettings
from chassis.supervisor import is_ready, port_of
from tests.conftest import CACHE_DIR
from tests.integration.conftest import COMMAND, clean_environment
from tests.polling import poll_until

CHECKOUT = Path(__file__).parents[3]
# What most supervisors wait before they kill. On a quiet machine each ends within four.
MAX_STOP_S = 10.0
# Long enough that every client has noticed, and waits for it.
ABSENCE_S = 2.0
LOAD_S = 3.0


@dataclass
class Services:
    """The four services as processes, on one broker and one database."""

    directory: Path
    environment: dict[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, service: str) -> None:
        self.port_file(service).unlink(missing_ok=True)
        env = {**self.environment, "BACKOUT_HTTP__PORT_FILE": str(self.port_file(service))}
        with (self.directory / f"{service}.log").open("ab") as log:
            self.running[service] = subprocess.Popen(
                [*COMMAND, "run", service], cwd=self.directory, env=env, stdout=log, stderr=subprocess.STDOUT
            )

    def port_file(self, service: str) -> Path:
        return self.directory / f"{service}.port"

    def wait_ready(self) -> None:
        for service in self.running:
            poll_until(
                lambda name=service: is_ready(port_of(self.port_file(name))), 60, f"{service} is ready"
            )

    def stop(self) -> dict[str, tuple[float, int | None]]:
        """SIGTERM to all of them; how many seconds each took to end, and its exit status."""
        began = time.monotonic()
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        took: dict[str, tuple[float, int | None]] = {}
        while len(took) < len(self.running):
            for service, process in self.running.items():
                if service not in took and process.poll() is not None:
                    took[service] = (time.monotonic() - began, process.returncode)
            assert time.monotonic() - began < 60, f"only {took} have ended"
            time.sleep(0.02)
        self.running.clear()
        return took

    def said(self, service: str) -> str:
        return (self.directory / f"{service}.log").read_text(errors="replace")

    def kill(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


@contextlib.asynccontextmanager
async def _stopped(broker: EmbeddedKafka) -> AsyncIterator[None]:
    await asyncio.to_thread(broker.stop)
    yield
    await asyncio.to_thread(broker.start)


@contextlib.asynccontextmanager
async def _frozen(broker: EmbeddedKafka) -> AsyncIterator[None]:
    assert broker.process is not None
    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)


@pytest.mark.timeout(180)
async def test_every_service_ends_within_seconds_and_loses_nothing(database: str, tmp_path: Path) -> None:
    directory = tmp_path / "services"
    shutil.copytree(CHECKOUT / "config", directory / "config")
    shutil.copy(CHECKOUT / "backout.toml", directory)
    (directory / "config" / "rollback" / "compound_triggers.yml").unlink()
    configure(directory / "config")
    async with EmbeddedKafka(tmp_path / "kafka", cache_dir=CACHE_DIR) as broker:
        kafka = kafka_of(KafkaSettings(bootstrap_servers=broker.bootstrap_servers, session_timeout_ms=3_000))
        await ensure_topics(kafka)
        services = Services(
            directory,
            clean_environment(
                BACKOUT_KAFKA__BOOTSTRAP_SERVERS=broker.bootstrap_servers,
                BACKOUT_KAFKA__SESSION_TIMEOUT_MS="3000",
                BACKOUT_POSTGRES__DSN=database,
                BACKOUT_MONITOR__SILENCE_S="0.5",
            ),
        )
        try:
            for absence, who in ((_stopped, SERVICES), (_frozen, ("monitor",))):
                for service in who:
                    services.start(service)
                await asyncio.to_thread(services.wait_ready)
                await _load(kafka)
                async with absence(broker):
                    await asyncio.sleep(ABSENCE_S)
                    took = await asyncio.to_thread(services.stop)
                statuses = {service: status for service, (_, status) in took.items()}
                assert statuses == dict.fromkeys(who, 0)
                late = {service: seconds for service, (seconds, _) in took.items() if seconds > MAX_STOP_S}
                assert late == {}, "\n".join(services.said(service) for service in late)
            services.start("monitor")
            # There may be nothing to catch up with: it would be told to stop before it listens for that.
            await asyncio.to_thread(services.wait_ready)
            assert await caught_up(kafka, timeout_s=60), services.said("monitor")
            (_, status) = (await asyncio.to_thread(services.stop))["monitor"]
        finally:
            services.kill()
        compared = await compare(kafka, directory / "config")
    assert status == 0
    assert compared.problems == []
    assert compared.twice == 0
    assert "fired" in compared.kinds
    for service in SERVICES:
        assert "\nTraceback" not in services.said(service), services.said(service)


async def _load(kafka: Kafka) -> None:
    """Samples that breach, until the moment before the broker is lost."""
    stop = asyncio.Event()
    loading = asyncio.create_task(Load(kafka, rate=2_000, seed=5).run(stop))
    await asyncio.sleep(LOAD_S)
    stop.set()
    await loading
