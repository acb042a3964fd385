"""The stage of the executor's tests: real executor processes, and the log that they share."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import asyncpg

from chassis.kafka import Kafka, Producer, TopicPartition, read_range
from chassis.settings import Settings
from schemas.commands import Command, PauseCommand, ResumeCommand, RollbackCommand
from schemas.envelope import make_event
from schemas.registry import AnyEvent, read_event
from schemas.rollbacks import RollbackEvent
from schemas.topics import TopicId
from schemas.triggers import TriggerAction, TriggerEvent, TriggerKind
from tests.integration.conftest import COMMAND, clean_environment, settings_as_variables
from tests.integration.executor.target import Target
from tests.polling import is_stopped

ROOT = Path(__file__).parents[3]
COMPONENT = "extractor"
LEASE_S = 2.0

PLAYBOOK = """
playbook: {component}
mode: {mode}
deadline: {deadline}
preserves_data: true
require:
  - http.check: {{url: "{{target.sample}}/health"}}
suites:
  known_files:
    http.call: {{method: POST, url: "{{target.sample}}/components/{component}/validate", json: {{}},
                honours: [idempotency_key, epoch]}}
    checks:
      - {{name: accuracy, value: accuracy, at_least: 0.95}}
      - {{name: seconds_per_page, value: pace.max, at_most: 1.0, unit: s}}
steps:
  - id: disable
    http.call: {{method: PUT, url: "{{target.sample}}/components/{component}/enhanced", json: {{to: false}},
                honours: [{honours}]}}
    observe: {{http.check: {{url: "{{target.sample}}/components/{component}",
                            expect: {{json: {{enhanced: false}}}}}}}}
    undo:
      http.call: {{method: PUT, url: "{{target.sample}}/components/{component}/enhanced",
                  json: {{to: "{{prior.enhanced}}"}}, honours: [idempotency_key, epoch]}}
    timeout: {timeout}
    retry: {{attempts: 3, backoff: 50ms}}
{between}
  - id: restore
    http.call: {{method: PUT, url: "{{target.sample}}/components/{component}/original", json: {{to: true}},
                honours: [{honours}]}}
    observe: {{http.check: {{url: "{{target.sample}}/components/{component}",
                            expect: {{json: {{original: true}}}}}}}}
    timeout: {timeout}
    retry: {{attempts: 3, backoff: 50ms}}
  - id: validate
    validate: {{suite: known_files}}
    timeout: {timeout}
    retry: {{attempts: 2, backoff: 50ms}}
  - id: route
    http.call: {{method: PUT, url: "{{target.sample}}/components/{component}/routing", json: {{to: original}},
                honours: [{honours}]}}
    observe: {{http.check: {{url: "{{target.sample}}/components/{component}",
                            expect: {{json: {{routing: original}}}}}}}}
    timeout: {timeout}
    retry: {{attempts: 3, backoff: 50ms}}
{tail}
"""


T = TypeVar("T")


async def poll_until(
    condition: Callable[[], Awaitable[T | None]], *, what: str, timeout_s: float, every_s: float = 0.05
) -> T:
    """What ``condition`` returns, once it is something; fails the test when it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not (found := await condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        await asyncio.sleep(every_s)
    return found


@dataclass
class Executors:
    """Starts executor processes, and asks the log and the database what they did."""

    settings: Settings
    kafka: Kafka
    target: Target
    directory: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def config_dir(self) -> Path:
        return self.directory / "config"

    def playbook(
        self,
        component: str = COMPONENT,
        *,
        mode: str = "auto",
        deadline: str = "60s",
        timeout: str = "5s",
        honours: str = "idempotency_key, epoch",
        between: str = "",
        tail: str = "",
    ) -> None:
        """Write a component's playbook."""
        folder = self.config_dir / "playbooks"
        folder.mkdir(parents=True, exist_ok=True)
        text = PLAYBOOK.format(
            component=component,
            mode=mode,
            deadline=deadline,
            timeout=timeout,
            honours=honours,
            between=between,
            tail=tail,
        )
        (folder / f"{component}.yml").write_text(text, encoding="utf-8")

    def start(
        self, name: str = "one", *, failpoints: str = "", variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start an executor; it is ready once it answers, and works as soon as it can."""
        # A name is one member of the group; the test's database is shared.
        output = (self.directory / f"{name}.log").open("ab")
        mine = {
            "BACKOUT_INSTANCE": name,
            "BACKOUT_CONFIG_DIR": str(self.config_dir),
            "BACKOUT_EXECUTOR__TARGETS": f'{{"sample": "{self.target.url}"}}',
            "BACKOUT_EXECUTOR__LEASE_S": str(LEASE_S),
            "BACKOUT_HTTP__PORT_FILE": str(self.directory / f"{name}.port"),
        }
        if failpoints:
            mine["BACKOUT_FAILPOINTS"] = failpoints
        environment = clean_environment(
            **{**settings_as_variables(self.settings), **mine, **(variables or {})}
        )
        argv = [*COMMAND, "run", "executor"]
        with output:
            process = subprocess.Popen(
                argv, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        self.processes[name] = process
        return process

    def log_of(self, name: str = "one") -> str:
        return (self.directory / f"{name}.log").read_text(encoding="utf-8")

    def signal(self, number: signal.Signals, name: str = "one") -> None:
        os.kill(self.processes[name].pid, number)

    async def stopped(self, name: str = "one", *, timeout_s: float = 30.0) -> int:
        """Wait until a process has ended; its exit status."""
        process = self.processes[name]

        async def ended() -> bool:
            return process.poll() is not None

        await poll_until(ended, what=f"the end of {name}", timeout_s=timeout_s)
        assert process.returncode is not None
        return process.returncode

    async def until_frozen(self, name: str = "one") -> None:
        """Wait until the process is stopped by a signal (the failpoint ``freeze``)."""

        async def frozen() -> bool:
            return is_stopped(self.processes[name].pid)

        await poll_until(frozen, what=f"the freeze of {name}", timeout_s=30)

    def end(self) -> None:
        """Stop what runs."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    # --- what is asked for ---

    async def publish(self, topic: TopicId, value: bytes, *, key: str = COMPONENT) -> None:
        async with self.kafka.producer() as producer:
            await self.send(producer, topic, value, key=key)

    async def send(self, producer: Producer, topic: TopicId, value: bytes, *, key: str = COMPONENT) -> None:
        await producer.send(self.kafka.topic(topic), value, key=key.encode())

    async def command(self, data: Command, *, event_id: str, component: str = COMPONENT) -> None:
        event = make_event(
            data,
            event_id=event_id,
            source="/test",
            time=datetime.now(UTC),
            subject=component,
            correlationid=event_id,
        )
        await self.publish("commands", event.to_bytes())

    async def trigger(
        self, kind: TriggerKind, *, traceparent: str | None = None, **fields: Any
    ) -> TriggerEvent:
        data = trigger(kind, **fields)
        await self.publish("triggers", trigger_event(data, traceparent))
        return data

    # --- what they did ---

    async def events(self, topic: TopicId = "rollbacks") -> list[AnyEvent]:
        """Everything on a topic, in order, each id once."""
        found: dict[str, AnyEvent] = {}
        partition = TopicPartition(self.kafka.topic(topic), 0)
        async with self.kafka.reader(partition) as reader:
            end = (await reader.end_offsets([partition]))[partition]

        def each(record: Any) -> None:
            event = read_event(record.value)
            found.setdefault(event.id, event)

        await read_range(self.kafka, partition, 0, end - 1, each=each)
        return list(found.values())

    async def rollbacks(self) -> list[RollbackEvent]:
        return [event.data for event in await self.events() if isinstance(event.data, RollbackEvent)]

    async def until(
        self, holds: Callable[[list[RollbackEvent]], bool], *, what: str, timeout_s: float = 40.0
    ) -> list[RollbackEvent]:
        """The rollback events, once they are so."""

        async def found() -> list[RollbackEvent] | None:
            events = await self.rollbacks()
            return events if holds(events) else None

        try:
            return await poll_until(found, what=what, timeout_s=timeout_s, every_s=0.1)
        except AssertionError as error:
            kinds = [
                f"{event.kind}:{event.step.id if event.step else event.reason}"
                for event in await self.rollbacks()
            ]
            logs = "\n".join(self.log_of(name)[-3000:] for name in self.processes)
            raise AssertionError(f"{error}\nevents: {kinds}\n{logs}") from None

    async def ended(self, component: str = COMPONENT, *, timeout_s: float = 40.0) -> RollbackEvent:
        """The event with which the component's rollback ended."""
        events = await self.until(
            lambda found: any(item.kind == "completed" and item.component == component for item in found),
            what=f"the end of the rollback of {component}",
            timeout_s=timeout_s,
        )
        return next(item for item in events if item.kind == "completed" and item.component == component)

    async def ask_text(self, path: str, name: str = "one") -> str:
        """What the health endpoint of a running executor answers."""
        port = await asyncio.to_thread((self.directory / f"{name}.port").read_text)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}{path}") as answer,
        ):
            return await answer.text()

    async def ask(self, path: str, name: str = "one") -> Any:
        return json.loads(await self.ask_text(path, name))

    async def rows(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.settings.postgres_dsn)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()


def rollback(component: str = COMPONENT, **fields: Any) -> RollbackCommand:
    return RollbackCommand(component=component, **_issued(fields))


def pause(**fields: Any) -> PauseCommand:
    return PauseCommand(**_issued(fields))


def resume(**fields: Any) -> ResumeCommand:
    return ResumeCommand(**_issued(fields))


def _issued(fields: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {"issued_by": "tester", "issued_at": now, "expires_at": now + timedelta(minutes=10), **fields}


def trigger(
    kind: TriggerKind,
    *,
    component: str = COMPONENT,
    name: str = "response_time_p95",
    began: datetime | None = None,
    at: datetime | None = None,
    action: str = "rollback",
    immediate: bool = False,
) -> TriggerEvent:
    """A trigger's event about a breach that began at ``began`` (just now), evaluated at ``at``."""
    at = at or datetime.now(UTC)
    began = began or at
    return TriggerEvent(
        kind=kind,
        trigger_id=f"{name}/{component}/{began.isoformat()}",
        trigger=name,
        component=component,
        group={"component": component},
        metric="response_time_p95_ms",
        severity="critical",
        at=at,
        began=began,
        value=4000.0,
        threshold=3000.0,
        condition="> 3000",
        reason="threshold",
        why="4000 is > 3000",
        action=TriggerAction.model_validate({"kind": action, "target": component}),
        immediate=immediate,
        rule_hash="sha256:0",
    )


def trigger_event(data: TriggerEvent, traceparent: str | None = None) -> bytes:
    """Its event, as the monitor sends it."""
    return make_event(
        data,
        event_id=f"{data.trigger_id}/{data.kind}/{data.at.isoformat()}",
        source="/test",
        time=data.at,
        subject=data.component,
        correlationid=data.trigger_id,
        traceparent=traceparent,
    ).to_bytes()
