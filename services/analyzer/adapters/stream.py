"""The Faust application: one agent over the control topics, and the table of open incidents.

Left to itself, Faust would lose events in ways that this service must not: an agent's exception
drops the event that raised it, a changelog record that could not be written is only a warning,
and records of aborted transactions are read as if they counted. So here a record is
acknowledged only after its effects and its changelog record are confirmed, the first unexpected
error ends the process with nothing acknowledged, and only committed records are read.

The four topics and the analyzer's own closings are one stream: with one partition each, they
are taken one record at a time, and the table is never written from two places.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import faust
import structlog
from yarl import URL

from chassis.errors import PermanentError
from chassis.kafka import Kafka
from chassis.kafka_membership import Memberships
from chassis.settings import Settings
from schemas.topics import TopicId
from services.analyzer.adapters.faust_driver import FetchOrder, Transport, end, stop_timeout_s
from services.analyzer.adapters.open_incidents import ConfirmedTable, OpenIncidents
from services.analyzer.domain.standstill import Standing

log = structlog.get_logger(__name__)
FOLLOWED: tuple[TopicId, ...] = ("triggers", "commands", "rollbacks", "notifications", "incidents")
TABLE = "open-incidents"
_COMMIT_INTERVAL_S = 0.5
_RESTORE_LOOKS = 30
"""Looks, a second apart, in which the restoring of the table has to get on."""


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A record of the stream, as the rest of the service knows records."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    fetched_after: int | None = None
    """The offset of the record that was fetched right before it; None for the first since a seek."""
    generation: int = 0
    """How often the topics had been given out when it was fetched."""


Handle = Callable[[StreamRecord], Awaitable[bool]]
"""Whether the record may be acknowledged."""


class IncidentStream:
    """The started-once Faust application."""

    def __init__(self, settings: Settings, kafka: Kafka) -> None:
        self._app = _application(settings, kafka)
        self._data_directory = settings.state_dir / "analyzer"
        self._topics = [kafka.topic(topic) for topic in FOLLOWED]
        table = self._app.Table(TABLE, partitions=1, key_type=bytes, value_type=bytes)
        self.incidents = OpenIncidents(table)
        self.changelog_topic: str = table.changelog_topic_name
        self._reach = kafka.reach
        self._started = False
        loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[None] = loop.create_future()
        # Faust would wait for ever for somebody to take note of it. It is told in the consumer's thread.
        self._app.transport.told = lambda error: loop.call_soon_threadsafe(self._fail, error)

    @contextlib.asynccontextmanager
    async def running(self, handle: Handle) -> AsyncIterator[None]:
        """Hand every record to ``handle`` until the end of the block; see ``failure``."""
        source = self._app.topic(*self._topics, value_type=bytes, value_serializer="raw")

        async def follow(stream: Any) -> None:
            async for event in stream.noack().events():
                record = _record(event, self._app.transport.order)
                try:
                    handled = await handle(record)
                except Exception as error:  # noqa: BLE001 - whatever it is, it must not be acknowledged
                    self._fail(error)
                    await asyncio.Event().wait()
                # Faust would take a late one for an acknowledgement of all before it in this generation.
                if handled and record.generation == self.generation:
                    await stream.ack(event)

        self._app.agent(source, name="incidents")(follow)
        self._app.finalize()
        self._data_directory.mkdir(parents=True, exist_ok=True)
        try:
            await self._app.start()
            self._started = True
            yield
        finally:
            self._started = False
            stopping, timeout = asyncio.ensure_future(self._app.stop()), stop_timeout_s(self._reach)
            await asyncio.wait({stopping}, timeout=timeout)
            if not stopping.done():
                log.warning("the stream does not stop", after_s=timeout)
            await end(stopping, within_s=timeout)

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)
            # At a stop nobody asks any more what it was.
            self._failed.exception()

    async def failure(self, stop: asyncio.Event) -> None:
        """Raise what stopped the stream, as soon as it did; return when ``stop`` is set."""
        stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
        standing = Standing(_RESTORE_LOOKS)
        try:
            while not stop.is_set():
                watched: set[asyncio.Future[Any]] = {stopping, self._failed}
                await asyncio.wait(watched, timeout=1, return_when=asyncio.FIRST_COMPLETED)
                if standing.look(self._restoring()):
                    raise PermanentError(
                        "the restoring of the table does not go on: a new start begins it anew"
                    )
                if self._failed.done():
                    self._failed.result()
                if self._app.crashed:
                    raise RuntimeError("the stream application has crashed") from self._app.crash_reason
        finally:
            stopping.cancel()

    def _restoring(self) -> object:
        """How far the restoring is; None if the table is restored, or not ours."""
        if not self._has_topics() or self._recovered():
            return None
        return self.generation, self._app.consumer.restored

    def active(self) -> bool:
        """Whether this instance has been given the topics, and its table is restored."""
        # Merely asking the application for its consumer would make it one, too early.
        return self._started and self._has_topics() and self._recovered()

    def _has_topics(self) -> bool:
        assigned = {part.topic for part in self._app.consumer.assignment()}
        return assigned.issuperset(self._topics)

    def _recovered(self) -> bool:
        return bool(not self._app.rebalancing and self._app.tables.recovery.completed.is_set())

    @property
    def generation(self) -> int:
        """Counts the times that the topics have been given out anew."""
        return int(self._app.consumer_generation_id)

    async def probe(self) -> str | None:
        """For readiness."""
        if self._failed.done():
            return "the stream has failed"
        return None if self.active() else "no partitions are assigned yet, or the table is not restored"


def _record(event: Any, order: FetchOrder) -> StreamRecord:
    message = event.message
    return StreamRecord(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp=round(message.timestamp * 1000),
        key=message.key,
        value=message.value,
        headers=_headers(message.headers),
        fetched_after=order.take(message.topic, message.partition, message.offset),
        generation=message.generation_id,
    )


def _headers(headers: Any) -> list[tuple[str, bytes]]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return [(name, value) for name, value in pairs]


def _application(settings: Settings, kafka: Kafka) -> Any:
    session_s = settings.kafka.session_timeout_ms / 1000
    group = kafka.group("analyzer")
    app = faust.App(
        group,
        broker=[URL(f"kafka://{server.strip()}") for server in kafka.bootstrap_servers.split(",")],
        broker_client_id=f"backout-analyzer-{settings.instance}",
        broker_session_timeout=session_s,
        broker_heartbeat_interval=max(0.3, session_s / 4),
        broker_commit_interval=_COMMIT_INTERVAL_S,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance if settings.kafka.static_membership else None,
        datadir=str(settings.state_dir / "analyzer"),
        store="memory://",
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=1,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=False,
        web_enabled=False,
        autodiscover=False,
        Table=ConfirmedTable,
    )
    app.transport = Transport(app.conf.broker_consumer, app)
    app.transport.reach = kafka.reach
    app.transport.order = FetchOrder()
    app.transport.memberships = Memberships()
    return app
