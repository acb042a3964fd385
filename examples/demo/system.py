"""Everything that the scenario plays on, as real processes: the sample system, the receivers,
its load, and the four services.

Each writes its log to ``<state_dir>/logs/<name>.log``. A service can be killed and started
again, which is what the torture does.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import asyncpg

from chassis.embedded.process_group import ManagedProcess, ProcessGroup
from chassis.errors import BackoutError, DependencyUnavailable
from chassis.kafka import Kafka
from chassis.kafka_admin import ensure_topics
from chassis.settings import NO_SETTINGS_FILE, SERVICES, KafkaSettings, without_settings
from examples.demo.infrastructure import Infrastructure
from schemas.topics import topic_name

SLACK_TOKEN = "xoxb-demo"  # noqa: S105 - the local receivers' own
PAGE_KEY = "demo-key"
PAGE_ID = "docrag"
_START_TIMEOUT_S = 60.0
_FOR_THE_COMMAND_LINE = (
    "BACKOUT_SETTINGS_FILE",
    "BACKOUT_STATE_DIR",
    "BACKOUT_CONFIG_DIR",
    "BACKOUT_KAFKA__BOOTSTRAP_SERVERS",
    "BACKOUT_KAFKA__NAMESPACE",
    "BACKOUT_POSTGRES__DSN",
    "BACKOUT_MONITOR__RULES",
    "BACKOUT_EXECUTOR__TARGETS",
)


@dataclass(frozen=True, slots=True)
class SystemOptions:
    """What differs between the demo, the tests and the torture."""

    config_dir: Path = Path("config")
    rules: tuple[Path, ...] = (Path("examples/docrag/triggers.yml"),)
    namespace: str = ""
    database: str = "backout"
    sample_database: str = "docrag"
    load_rate: float = 4.0
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further BACKOUT_ variables for the services."""


class System:
    """The processes of one run; an async context manager that leaves none behind."""

    def __init__(
        self,
        infrastructure: Infrastructure,
        group: ProcessGroup,
        state_dir: Path,
        options: SystemOptions | None = None,
        *,
        told: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self.infrastructure = infrastructure
        self.options = options or SystemOptions()
        self.state_dir = state_dir.absolute()
        self.receivers_dir = self.state_dir / "receivers"
        self.reports_dir = self.state_dir / "reports"
        self.sample_url = ""
        self.receivers: dict[str, Any] = {}
        self._group = group
        self._told = told
        self._running: dict[str, ManagedProcess] = {}
        self._environment: dict[str, str] = {}

    @property
    def kafka(self) -> Kafka:
        """Clients for the run's cluster and namespace."""
        settings = KafkaSettings(namespace=self.options.namespace)
        return Kafka(self.infrastructure.bootstrap_servers, settings, client_id="backout-demo")

    @property
    def dsn(self) -> str:
        """The control plane's database."""
        return self.infrastructure.dsn(self.options.database)

    def exports(self) -> list[str]:
        """The lines of shell with which ``backout`` works on this run, the database's password included."""
        given = {**self._environment, "BACKOUT_SETTINGS_FILE": os.devnull}
        return [f"export {name}={shlex.quote(given[name])}" for name in _FOR_THE_COMMAND_LINE if given[name]]

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        (self.state_dir / "logs").mkdir(parents=True, exist_ok=True)
        dsn, sample_dsn = await asyncio.gather(
            self.infrastructure.create_database(self.options.database),
            self.infrastructure.create_database(self.options.sample_database),
        )
        await self._start_receivers()
        await self._start_sample(sample_dsn)
        await ensure_topics(self.kafka)
        self._environment = self._service_environment(dsn)
        for name in SERVICES:
            self.start_service(name)
        await asyncio.gather(*(self.wait_ready(name) for name in SERVICES))
        await self._wait_for("sample", lambda: self._answers(f"{self.sample_url}/readyz"))

    async def stop(self) -> None:
        """Stop every process of this run, services first, so that they end in good order."""
        running = list(reversed(self._running.items()))
        self._running.clear()
        await asyncio.gather(*(asyncio.to_thread(process.stop) for _, process in running))
        for _, process in running:
            self._group.forget(process)

    # -- processes -----------------------------------------------------------------------

    def spawn(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> ManagedProcess:
        """Run a module of this interpreter as ``name``, its output appended to its log file.

        Of the caller's environment it has nothing that is a setting, of backout or of the sample:
        the run is to be the same wherever it is started.
        """
        with (self.state_dir / "logs" / f"{name}.log").open("ab") as log:
            process = self._group.spawn(
                name, [sys.executable, "-m", *argv], env={**_plain_environment(), **(env or {})}, stdout=log
            )
        self._running[name] = process
        return process

    def start_service(self, name: str) -> ManagedProcess:
        """Start (or start again) one of the four services."""
        port_file = self._port_file(name)
        port_file.unlink(missing_ok=True)
        environment = {**self._environment, "BACKOUT_HTTP__PORT_FILE": str(port_file)}
        self._told(name)
        return self.spawn(name, ["cli.main", "run", name], environment)

    def kill_service(self, name: str) -> None:
        """``kill -9`` a service; start_service starts it again."""
        process = self._running.pop(name)
        process.popen.kill()
        process.popen.wait()
        self._group.forget(process)

    async def wait_ready(self, name: str) -> None:
        """Wait until a service says on /readyz that it is ready; raises DependencyUnavailable."""
        await self._wait_for(name, lambda: self._service_ready(name))

    def _port_file(self, name: str) -> Path:
        return self.state_dir / f"{name}.port"

    async def _service_ready(self, name: str) -> bool:
        try:
            port = int(self._port_file(name).read_text(encoding="ascii"))
        except OSError:
            return False
        return await self._answers(f"http://127.0.0.1:{port}/readyz")

    async def _answers(self, url: str) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError):
            return False

    async def _wait_for(self, name: str, ready: Callable[[], Any]) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not await ready():
            process = self._running.get(name)
            status = process.exit_status() if process else None
            if status is not None or time.monotonic() > deadline:
                happened = f"ended with status {status}" if status is not None else "did not get ready"
                raise DependencyUnavailable(f"{name} {happened}; it said:\n{self.log_tail(name)}")
            await asyncio.sleep(0.1)

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The last lines of a process's log."""
        path = self.state_dir / "logs" / f"{name}.log"
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return "\n".join(text.splitlines()[-lines:]) or "(nothing)"

    def log_tails(self) -> str:
        """The last lines of each service's log."""
        return "\n".join(f"{name} said:\n{self.log_tail(name)}" for name in SERVICES)

    async def open_incidents(self) -> list[str]:
        """A line for each incident that is open: what it waits for."""
        connection = await asyncpg.connect(self.dsn)
        try:
            rows = await connection.fetch(
                "SELECT incident_id, why FROM backout.incidents WHERE status = 'open' ORDER BY opened_at"
            )
        finally:
            await connection.close()
        return [f"{row['incident_id']}: {row['why']}" for row in rows]

    def reports(self) -> dict[str, Path]:
        """The incident's report by format; of its name only, where it is not written (yet)."""
        found = {}
        for name, suffix in (("html", "html"), ("markdown", "md")):
            written = sorted(self.reports_dir.glob(f"*/report.{suffix}"))
            found[name] = written[-1] if written else self.reports_dir / f"report.{suffix}"
        return found

    async def wait_for_reports(self, timeout_s: float) -> bool:
        """Wait until the report is there; False if it is not within ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while not all(path.exists() for path in self.reports().values()):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)
        return True

    # -- the parts -----------------------------------------------------------------------

    async def _start_receivers(self) -> None:
        self._told("receivers")
        addresses = self.receivers_dir / "receivers.json"
        addresses.unlink(missing_ok=True)
        self.spawn("receivers", ["examples.receivers", "--state-dir", str(self.receivers_dir)])

        async def listening() -> bool:
            return addresses.exists()

        await self._wait_for("receivers", listening)
        self.receivers = json.loads(addresses.read_text(encoding="utf-8"))

    async def _start_sample(self, dsn: str) -> None:
        self._told("sample")
        argv = ["examples.docrag", "serve", "--port", "0"]
        argv += ["--state-dir", str(self.state_dir / "sample"), "--dsn", dsn]
        argv += ["--kafka", self.infrastructure.bootstrap_servers]
        argv += ["--metrics-topic", topic_name("metrics", self.options.namespace)]
        argv += ["--logs-topic", topic_name("logs", self.options.namespace)]
        self.spawn("sample", argv)

        async def listening() -> bool:
            self.sample_url = self._sample_url_in_log()
            return bool(self.sample_url)

        await self._wait_for("sample", listening)

    def _sample_url_in_log(self) -> str:
        """The address that the sample printed when it began to listen; empty before that."""
        text = (self.state_dir / "logs" / "sample.log").read_text(encoding="utf-8", errors="replace")
        for line in reversed(text.splitlines()):
            if line.startswith("{") and '"listening"' in line:
                return str(json.loads(line)["url"])
        return ""

    def start_load(self, duration_s: float) -> ManagedProcess:
        """Upload and query, at the options' rate, for at most ``duration_s``."""
        argv = ["examples.docrag", "load", "--url", self.sample_url]
        argv += ["--rate", str(self.options.load_rate), "--duration", str(duration_s)]
        return self.spawn("load", argv)

    def _service_environment(self, dsn: str) -> dict[str, str]:
        rules = [str(path.absolute()) for path in self.options.rules]
        return {
            "BACKOUT_KAFKA__BOOTSTRAP_SERVERS": self.infrastructure.bootstrap_servers,
            "BACKOUT_KAFKA__NAMESPACE": self.options.namespace,
            "BACKOUT_POSTGRES__DSN": dsn,
            "BACKOUT_STATE_DIR": str(self.state_dir),
            "BACKOUT_CONFIG_DIR": str(self.options.config_dir.absolute()),
            "BACKOUT_INSTANCE": "demo",
            "BACKOUT_LOG_FORMAT": "json",
            "BACKOUT_MONITOR__RULES": json.dumps(rules),
            "BACKOUT_EXECUTOR__TARGETS": json.dumps({"docrag": self.sample_url}),
            "BACKOUT_EXECUTOR__LEASE_S": "3",
            "BACKOUT_NOTIFIER__SLACK__TOKEN": SLACK_TOKEN,
            "BACKOUT_NOTIFIER__SLACK__BASE_URL": self.receivers["slack"],
            "BACKOUT_NOTIFIER__SLACK__TIMEOUT_S": "3",
            "BACKOUT_NOTIFIER__STATUSPAGE__PAGE_ID": PAGE_ID,
            "BACKOUT_NOTIFIER__STATUSPAGE__API_KEY": PAGE_KEY,
            "BACKOUT_NOTIFIER__STATUSPAGE__BASE_URL": self.receivers["statuspage"],
            "BACKOUT_NOTIFIER__STATUSPAGE__TIMEOUT_S": "3",
            "BACKOUT_NOTIFIER__SMTP__HOST": self.receivers["smtp"]["host"],
            "BACKOUT_NOTIFIER__SMTP__PORT": str(self.receivers["smtp"]["port"]),
            "BACKOUT_NOTIFIER__SMTP__TIMEOUT_S": "3",
            "BACKOUT_ANALYZER__REPORTS_DIR": str(self.reports_dir),
            "BACKOUT_ANALYZER__SETTLE_S": "2",
            "BACKOUT_ANALYZER__LOOK_BACK_S": "60",
            **self.options.settings,
        }


def _plain_environment() -> dict[str, str]:
    kept = {name: value for name, value in without_settings().items() if not name.startswith("DOCRAG_")}
    return kept | NO_SETTINGS_FILE


class ScenarioError(BackoutError):
    """The scenario did not go as it must."""
