"""The stage of the notifier's tests: real receivers, a real notifier process, and an executor's
events as a test writes them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from chassis.kafka import Kafka, TopicPartition, read_range
from chassis.settings import Settings
from schemas.envelope import make_event
from schemas.notifications import DeliveryEvent
from schemas.registry import AnyEvent, read_event
from schemas.rollbacks import RollbackEvent, Step
from tests.integration.conftest import COMMAND, clean_environment, settings_as_variables
from tests.polling import eventually, poll_until, until

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 2.0
COMPONENT = "pdf_extraction"


def _terminate(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


@dataclass
class Receivers:
    """The local receivers as a process, and questions to them."""

    directory: Path
    addresses: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        listening = self.directory / "receivers.json"
        listening.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "examples.receivers", "--state-dir", str(self.directory), *options]
        self.process = subprocess.Popen(argv, cwd=ROOT, env=clean_environment())
        poll_until(listening.exists, what="receivers.json")
        self.addresses = json.loads(listening.read_text(encoding="utf-8"))

    def ports(self) -> list[str]:
        """The options with which a restart listens where it did."""
        pages = self.addresses["pages"]
        found = {f"--{name}-port": pages[name].rsplit(":", 1)[1].strip("/") for name in pages}
        found["--smtp-port"] = str(self.addresses["smtp"]["port"])
        return [part for pair in found.items() for part in pair]

    def stop(self) -> None:
        if self.process is not None:
            _terminate(self.process)
            self.process = None

    def fault(self, server: str, *faults: Mapping[str, Any]) -> None:
        """Arm a server (slack, statuspage, mailbox) with exactly these."""
        body = json.dumps({"faults": list(faults)}).encode()
        _http(self.addresses["pages"][server] + "_faults", body, "PUT", {"Content-Type": "application/json"})

    def requests(self, server: str) -> dict[str, int]:
        """How many requests of each operation a server has had since it started."""
        counts: dict[str, int] = _http(self.addresses["pages"][server] + "_requests")
        return counts

    def messages(self) -> list[dict[str, Any]]:
        """What a reader of #incidents sees, oldest first, with metadata; asked through Slack's API."""
        api, auth = self.addresses["slack"], {"Authorization": "Bearer xoxb-demo"}
        channels = _http(api + "conversations.list", headers=auth)["channels"]
        place = next(item["id"] for item in channels if item["name"] == "incidents")
        query = f"conversations.history?channel={place}&include_all_metadata=true&limit=999"
        found: list[dict[str, Any]] = _http(api + query, headers=auth)["messages"]
        return found[::-1]

    def revisions(self) -> list[float]:
        """When the only message got each of its wordings, in seconds since the epoch."""
        with contextlib.closing(sqlite3.connect(self.directory / "receivers.sqlite3")) as store:
            ((body,),) = store.execute("SELECT body FROM documents WHERE collection = 'slack_messages'")
        return [float(revision["at"]) for revision in json.loads(body)["revisions"]]

    def incidents(self) -> list[dict[str, Any]]:
        """The page's incidents, oldest first; asked through Statuspage's API."""
        url = self.addresses["statuspage"] + "/pages/docrag/incidents"
        found: list[dict[str, Any]] = _http(url, headers={"Authorization": "OAuth demo-key"})
        return found[::-1]

    def mails(self) -> list[dict[str, Any]]:
        """Every mail that was taken, oldest first."""
        found: list[dict[str, Any]] = _http(self.addresses["mailbox"] + "/mails")
        return found

    def variables(self) -> dict[str, str]:
        """The notifier's settings that lead here."""
        return {
            "BACKOUT_NOTIFIER__SLACK__TOKEN": "xoxb-demo",
            "BACKOUT_NOTIFIER__SLACK__BASE_URL": self.addresses["slack"],
            "BACKOUT_NOTIFIER__SLACK__TIMEOUT_S": str(TIMEOUT_S),
            "BACKOUT_NOTIFIER__STATUSPAGE__PAGE_ID": "docrag",
            "BACKOUT_NOTIFIER__STATUSPAGE__API_KEY": "demo-key",
            "BACKOUT_NOTIFIER__STATUSPAGE__BASE_URL": self.addresses["statuspage"],
            "BACKOUT_NOTIFIER__STATUSPAGE__TIMEOUT_S": str(TIMEOUT_S),
            "BACKOUT_NOTIFIER__STATUSPAGE__MIN_INTERVAL_S": "0.1",
            "BACKOUT_NOTIFIER__SMTP__HOST": self.addresses["smtp"]["host"],
            "BACKOUT_NOTIFIER__SMTP__PORT": str(self.addresses["smtp"]["port"]),
            "BACKOUT_NOTIFIER__SMTP__TIMEOUT_S": str(TIMEOUT_S),
        }


def _http(
    url: str, body: bytes | None = None, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Any:
    request = urllib.request.Request(url, data=body, method=method, headers=dict(headers or {}))  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read())


@dataclass
class Notifiers:
    """Starts notifier processes in a test's namespace and database, and ends them all."""

    settings: Settings
    variables: dict[str, str]
    directory: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(
        self, *, instance: str = "one", ready: bool = True, **variables: str
    ) -> subprocess.Popen[bytes]:
        """Start one; with ``ready``, wait until it says that it is."""
        number = len(self.running)
        port_file = self.directory / f"notifier-{number}.port"
        env = clean_environment(
            **settings_as_variables(self.settings),
            **{
                "BACKOUT_CONFIG_DIR": str(ROOT / "config"),
                "BACKOUT_INSTANCE": instance,
                "BACKOUT_HTTP__PORT_FILE": str(port_file),
                **self.variables,
                **variables,
            },
        )
        with self.log(number).open("wb") as output:
            process = subprocess.Popen(
                [*COMMAND, "run", "notifier"], cwd=ROOT, env=env, stdout=output, stderr=output
            )
        self.running.append(process)
        if ready:
            poll_until(lambda: self._is_ready(process, port_file), 30, f"notifier {number}")
        return process

    def log(self, number: int) -> Path:
        return self.directory / f"notifier-{number}.log"

    def _is_ready(self, process: subprocess.Popen[bytes], port_file: Path) -> bool:
        assert process.poll() is None, self.log(self.running.index(process)).read_text(encoding="utf-8")
        if not port_file.exists():
            return False
        try:
            _http(f"http://127.0.0.1:{port_file.read_text()}/readyz")
        except OSError:
            return False
        return True

    def killed(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the process has died of an armed failpoint."""
        poll_until(lambda: process.poll() is not None, 30, "the failpoint")
        assert process.returncode == -signal.SIGKILL

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        _terminate(process)
        assert process.returncode == 0, self.log(self.running.index(process)).read_text(encoding="utf-8")

    def end(self) -> None:
        """End what still runs; a frozen one, too."""
        for process in self.running:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                process.kill()
                process.wait()


@dataclass
class Rollback:
    """One execution's events, as the executor writes them."""

    kafka: Kafka
    incident: str = "response_time_p95/pdf_extraction/2026-01-01T00:00:00Z"
    component: str = COMPONENT
    age: timedelta = timedelta(0)
    sequence: int = 0

    def event(self, kind: str, **fields: Any) -> AnyEvent:
        """The next event of the execution."""
        self.sequence += 1
        at = datetime.now(UTC) - self.age
        execution = f"exec-{self.incident}"
        data = RollbackEvent.model_validate(
            {
                "kind": kind,
                "execution_id": execution,
                "sequence": self.sequence,
                "component": self.component,
                "requested_by": self.incident,
                "reason": "response time over its limit",
                "at": at,
                "playbook": self.component,
                "estimated_completion": at + timedelta(seconds=90),
                **fields,
            }
        )
        event: AnyEvent = make_event(
            data,
            event_id=f"{execution}/{self.sequence}",
            source="executor/test",
            time=at,
            subject=self.component,
            correlationid=self.incident,
        )
        return event

    async def say(self, kind: str, **fields: Any) -> AnyEvent:
        """Write the next event to the log."""
        event = self.event(kind, **fields)
        await self.write(event.to_bytes())
        return event

    async def write(self, value: bytes) -> None:
        async with self.kafka.producer() as producer:
            await producer.send(self.kafka.topic("rollbacks"), value, key=self.component.encode())

    async def step(self, index: int, of: int = 4) -> None:
        """One step, started and completed."""
        for kind, status, done in (("step_started", "running", index - 1), ("step_completed", "done", index)):
            step = Step(id=f"step-{index}", index=index, of=of, action="http.call", status=status)
            await self.say(kind, step=step, progress=100 * done // of)


async def journal(settings: Settings) -> list[dict[str, Any]]:
    """The view that people read, oldest first."""
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        return [dict(row) for row in await connection.fetch("SELECT * FROM backout.deliveries")]
    finally:
        await connection.close()


async def settled(settings: Settings, count: int, timeout_s: float = 30) -> list[dict[str, Any]]:
    """Wait until ``count`` deliveries are recorded and none is open; the journal."""
    rows = await until(
        lambda: journal(settings),
        lambda rows: len(rows) >= count and not {row["status"] for row in rows} & {"pending", "in_doubt"},
        timeout_s=timeout_s,
        every_s=0.1,
        what=f"the end of {count} deliveries",
    )
    assert len(rows) == count, [row["delivery_id"] for row in rows]
    return rows


async def delivery_until(
    settings: Settings, receiver: str, holds: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    """The receiver's delivery, once it is so."""

    async def found() -> list[dict[str, Any]]:
        return [row for row in await journal(settings) if row["receiver"] == receiver and holds(row)]

    return (await until(found, bool, what=f"the delivery to {receiver}"))[0]


@contextlib.asynccontextmanager
async def waiting_at(settings: Settings, table: str) -> AsyncIterator[None]:
    """The body runs while a transaction of the notifier waits to write to ``table``, which it may
    after the body."""
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN SHARE MODE")
            waiters = (
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
                "WHERE NOT granted AND relation = $1::regclass AND application_name = 'backout-notifier'"
            )
            await eventually(lambda: connection.fetchval(waiters, table), what=f"the wait for {table}")
            yield
    finally:
        await connection.close()


async def announced(kafka: Kafka, *, distinct: int = 0, timeout_s: float = 15) -> list[DeliveryEvent]:
    """Wait for so many events on the notifications topic; each once, in order.

    An outbox sends an event again after a crash, under its id.
    """

    async def once() -> dict[str, DeliveryEvent]:
        events = [read_event(value) for value in await read_values(kafka, "notifications")]
        return {event.id: event.data for event in events if isinstance(event.data, DeliveryEvent)}

    enough = await until(
        once,
        lambda found: len(found) >= distinct,
        timeout_s=timeout_s,
        every_s=0.1,
        what=f"{distinct} announcements",
    )
    return list(enough.values())


async def read_values(kafka: Kafka, topic: Any) -> list[bytes | None]:
    """The value of every record on a topic of one partition."""
    partition = TopicPartition(kafka.topic(topic), 0)
    values: list[bytes | None] = []
    async with kafka.reader(partition) as reader:
        end = (await reader.end_offsets([partition]))[partition]
    await read_range(kafka, partition, 0, end - 1, each=lambda record: values.append(record.value))
    return values
