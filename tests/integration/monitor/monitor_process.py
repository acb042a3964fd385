"""A monitor as an operator runs it: a process of its own, with its own configuration."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp

from chassis.settings import Settings, without_settings
from tests.polling import eventually

READY_TIMEOUT_S = 30.0


class MonitorProcess:
    """One monitor. ``signal`` goes to it alone."""

    def __init__(self, process: subprocess.Popen[bytes], port_file: Path, log_file: Path) -> None:
        self._process = process
        self._port_file = port_file
        self._log_file = log_file

    @property
    def log(self) -> str:
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ready(self) -> None:
        """Wait until it has partitions."""

        async def is_ready() -> bool:
            assert self.returncode is None, self.log
            if not self._port_file.exists():
                return False
            url = f"http://127.0.0.1:{self._port_file.read_text()}/readyz"
            with contextlib.suppress(aiohttp.ClientError):
                async with aiohttp.ClientSession() as session, session.get(url) as answer:
                    return answer.status == 200
            return False

        await eventually(is_ready, READY_TIMEOUT_S, "the monitor is ready")

    async def problems(self) -> dict[str, str]:
        """What /readyz says is wrong, by part."""
        url = f"http://127.0.0.1:{self._port_file.read_text()}/readyz"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            found: dict[str, str] = (await answer.json())["problems"]
            return found

    async def metrics(self) -> str:
        url = f"http://127.0.0.1:{self._port_file.read_text()}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    async def ended(self, timeout_s: float = 30.0) -> int:
        """Wait for its end; its exit status."""
        return await asyncio.to_thread(self._process.wait, timeout_s)

    async def stop(self) -> int:
        """SIGTERM, as a supervisor does."""
        if self.returncode is None:
            self.signal(signal.SIGTERM)
        return await self.ended()

    def clear(self) -> None:
        if self.returncode is None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def running_monitor(
    settings: Settings,
    directory: Path,
    *,
    instance: str = "one",
    environment: Mapping[str, str] | None = None,
) -> Iterator[MonitorProcess]:
    """A monitor with the configuration directory ``directory``; killed at the end if need be."""
    port_file = directory / f"{instance}-{time.monotonic_ns()}.port"
    log_file = port_file.with_suffix(".log")
    env = {
        **without_settings(),
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        "BACKOUT_SETTINGS_FILE": os.devnull,
        "BACKOUT_CONFIG_DIR": str(directory),
        "BACKOUT_INSTANCE": instance,
        "BACKOUT_HTTP__PORT_FILE": str(port_file),
        "BACKOUT_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "BACKOUT_KAFKA__NAMESPACE": settings.kafka.namespace,
        "BACKOUT_KAFKA__SESSION_TIMEOUT_MS": str(settings.kafka.session_timeout_ms),
        "BACKOUT_MONITOR__SILENCE_S": "0.5",
        **(environment or {}),
    }
    with log_file.open("wb") as log:
        argv = [sys.executable, "-m", "cli.main", "run", "monitor"]
        process = subprocess.Popen(argv, env=env, stdout=log, stderr=subprocess.STDOUT)
    monitor = MonitorProcess(process, port_file, log_file)
    try:
        yield monitor
    finally:
        monitor.clear()
