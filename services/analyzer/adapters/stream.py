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
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import faust
import structlog
from faust.transport.drivers import aiokafka as driver
from mode.threads import WorkerThread
from yarl import URL

from chassis.errors import PermanentError
from chassis.kafka import Kafka
from chassis.kafka_stop import Reach
from chassis.process import cancel_until_ended
from chassis.settings import Settings
from schemas.topics import TopicId
from services.analyzer.domain.incident import Incident

log = structlog.get_logger(__name__)
FOLLOWED: tuple[TopicId, ...] = ("triggers", "commands", "rollbacks", "notifications", "incidents")
TABLE = "open-incidents"
_STOP_TIMEOUT_S = 10.0
_NO_BROKER_TIMEOUT_S = 0.5
_THREAD_TIMEOUT_S = 2.0
_COMMIT_INTERVAL_S = 0.5
_RESTORE_LOOKS = 30
"""Looks, a second apart, in which the restoring of the table has to get on."""
_LARGE_BYTES = 500_000
# A restart waits for the fetch that is under way, as long as this.
_FETCH_TIMEOUT_S = 0.1


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


class _FetchOrder:
    """Which record was fetched right before which, until the latter is handed over."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], int] = {}
        self._before: dict[tuple[str, int, int], int] = {}

    def note(self, fetched: Mapping[Any, Sequence[Any]]) -> None:
        """Take note of records by partition, in their order."""
        for (topic, partition), records in fetched.items():
            for record in records:
                last = self._last.get((topic, partition))
                if last is not None and last < record.offset:
                    self._before[topic, partition, record.offset] = last
                self._last[topic, partition] = record.offset

    def take(self, topic: str, partition: int, offset: int) -> int | None:
        return self._before.pop((topic, partition, offset), None)

    def clear(self) -> None:
        """The places to read from are set anew."""
        self._last.clear()
        self._before.clear()


Handle = Callable[[StreamRecord], Awaitable[bool]]
"""Whether the record may be acknowledged."""


class _Thread(WorkerThread):  # type: ignore[misc, unused-ignore]
    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        # Where Faust could not be stopped in good order, nobody tells its thread to end.
        self.daemon = True

    def stop(self) -> None:
        # Called in the main loop, where it would wait for the thread for ever.
        self.is_stopped.wait(_THREAD_TIMEOUT_S)


class _CommittedThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc, unused-ignore]
    logger = driver.logger
    Worker = _Thread

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust reads committed records only under exactly_once, which would wrap every effect of
        # this service into a transaction that cannot hold Postgres. Triggers are written in
        # transactions: an aborted one has not happened.
        consumer._isolation_level = "read_committed"
        return consumer

    async def on_thread_stop(self) -> None:
        # Without a broker aiokafka's consumer may end in a cancellation of its own, or not at all. Faust
        # would never learn that its thread has ended, and the process would wait for it for ever.
        stopping = asyncio.ensure_future(super().on_thread_stop())
        reach = cast("_Transport", self.transport).reach
        await asyncio.wait({stopping}, timeout=reach.wait_s(_STOP_TIMEOUT_S))
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)

    async def seek_to_committed(self) -> Any:
        return await self.call_thread(self._seek_everywhere)

    async def _seek_everywhere(self) -> Any:
        # What was fetched while the table was being restored has been dropped. Where the group has
        # committed nothing yet, Faust would go on after it, and not from the beginning.
        consumer = self._ensure_consumer()
        committed = await consumer.seek_to_committed()
        own = self.app.tables.changelog_topics
        fresh = [part for part, offset in committed.items() if not offset and part.topic not in own]
        begins = await consumer.beginning_offsets(fresh) if fresh else {}
        for part in fresh:
            consumer.seek(part, begins[part])
        return committed


class _CommittedConsumer(driver.Consumer):  # type: ignore[misc, unused-ignore]
    """Takes nothing from the followed topics between their seek and the start of the flow.

    After the restoring, Faust makes the topics' partitions active, then seeks in them, then empties
    the queues on the way to the agent: what came between the last two would be lost. And it hands its
    living set of active partitions to a fetch. Where that set becomes empty meanwhile, the fetch
    takes from every partition, and Faust drops what it did not ask for.
    """

    logger = driver.logger

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._held: frozenset[Any] = frozenset()
        self._fetching = asyncio.Lock()
        self._restored = 0
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> Any:
        return _CommittedThread(self, loop=self.loop, beacon=self.beacon)

    def pause_partitions(self, tps: Iterable[Any]) -> None:
        # A new assignment begins with a pause: what an unfinished one has held is void.
        self._held = frozenset()
        self._order.clear()
        super().pause_partitions(tps)

    def resume_partitions(self, tps: Iterable[Any]) -> None:
        own = {part for part in tps if self._is_changelog_tp(part)}
        self._held |= frozenset(tps) - own
        super().resume_partitions(own)

    def resume_flow(self) -> None:
        # The queues have just been emptied, with no turn of the loop since then.
        super().resume_flow()
        held, self._held = self._held, frozenset()
        super().resume_partitions(held)

    async def on_stop(self) -> None:
        # The last commit waits for a broker, for ever if need be, and swallows a cancellation. What is not
        # committed is handed over again at the next start, and known by its progress.
        committing = asyncio.ensure_future(super().on_stop())
        await asyncio.wait({committing}, timeout=_stop_timeout_s(self._reach))
        await _end(committing, within_s=_NO_BROKER_TIMEOUT_S)

    async def perform_seek(self) -> None:
        # A fetch that is under way could move the positions on after the seek.
        async with self._fetching:
            self._order.clear()
            await super().perform_seek()
            # What was acknowledged before is read again, and Faust would commit beyond what was not.
            for part in [part for part in self._acked if not self._is_changelog_tp(part)]:
                del self._acked[part]
                self._acked_index.pop(part, None)

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        active = self._get_active_partitions()
        if not active:
            await self.sleep(_FETCH_TIMEOUT_S)
            return {}, active
        async with self._fetching:
            generation = self.app.consumer_generation_id
            fetched = await self._getmany(set(active), min(timeout, _FETCH_TIMEOUT_S))
            self._restored += sum(len(of) for part, of in fetched.items() if self._is_changelog_tp(part))
            followed = {part: of for part, of in fetched.items() if not self._is_changelog_tp(part)}
            if generation != self.app.consumer_generation_id:
                # Faust would take them for records of the new generation. They are read again after its seek.
                self._order.clear()
                return {part: of for part, of in fetched.items() if part not in followed}, active
            self._order.note(followed)
            return fetched, active

    @property
    def restored(self) -> int:
        """How many records of the table's changelog have been fetched."""
        return self._restored

    @property
    def _order(self) -> _FetchOrder:
        return cast("_Transport", self.transport).order

    @property
    def _reach(self) -> Reach:
        return cast("_Transport", self.transport).reach


class _Transport(driver.Transport):  # type: ignore[misc, unused-ignore]
    Consumer = _CommittedConsumer
    reach: Reach
    order: _FetchOrder


class _ConfirmedTable(faust.Table[bytes, bytes]):  # type: ignore[misc, unused-ignore]
    """A table whose writes can be awaited."""

    logger = driver.logger
    _unconfirmed: list[Any]

    def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
        future = super().send_changelog(*args, **kwargs)
        self.__dict__.setdefault("_unconfirmed", []).append(future)
        return future

    def partition_for_key(self, key: Any) -> int:
        # Faust takes the partition of the record at hand, and so refuses every write without one.
        return 0

    async def confirm(self) -> None:
        """Wait until the changelog holds every write so far; raises what kept one from it."""
        futures, self.__dict__["_unconfirmed"] = self.__dict__.get("_unconfirmed", []), []
        await asyncio.gather(*futures)


class _Standing:
    """Tells when something has been under way without getting on for so many looks in a row.

    Looks, not seconds: a process that was frozen has not looked.
    """

    def __init__(self, looks: int) -> None:
        self._limit = looks
        self._last: object = None
        self._looks = 0

    def look(self, state: object) -> bool:
        """``state`` is how far it is; None while nothing is under way."""
        self._looks = self._looks + 1 if state is not None and state == self._last else 0
        self._last = state
        return self._looks >= self._limit


class OpenIncidents:
    """The open incidents of this instance, in a Faust table."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._parsed: dict[bytes, tuple[bytes, Incident]] = {}

    def all(self) -> Mapping[str, Incident]:
        """Every open incident, by id."""
        found = {}
        for key, value in self._table.items():
            known = self._parsed.get(key)
            if known is None or known[0] != value:
                known = self._parsed[key] = (value, Incident.model_validate_json(_unpacked(value)))
            found[known[1].id] = known[1]
        for gone in self._parsed.keys() - {one.encode() for one in found}:
            del self._parsed[gone]
        return found

    async def replace(self, incident: Incident, merged: Sequence[str] = ()) -> None:
        """Store an incident, and forget those that were merged into it."""
        for one in merged:
            self._forget(one)
        self._table[incident.id.encode()] = _packed(incident.model_dump_json().encode())
        await self._table.confirm()

    async def remove(self, incident_id: str) -> None:
        """Forget an incident."""
        self._forget(incident_id)
        await self._table.confirm()

    def _forget(self, incident_id: str) -> None:
        key = incident_id.encode()
        if key in self._table:
            del self._table[key]


def _packed(text: bytes) -> bytes:
    """An incident as the changelog takes it. One that a pause holds open while a trigger flaps comes to
    know thousands of facts, and a record of Kafka has an end; they are much alike."""
    return text if len(text) < _LARGE_BYTES else zlib.compress(text)


def _unpacked(value: bytes) -> bytes:
    return value if value.startswith(b"{") else zlib.decompress(value)


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
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

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
            stopping, timeout = asyncio.ensure_future(self._app.stop()), _stop_timeout_s(self._reach)
            await asyncio.wait({stopping}, timeout=timeout)
            if not stopping.done():
                log.warning("the stream does not stop", after_s=timeout)
            await _end(stopping, within_s=timeout)

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)
            # At a stop nobody asks any more what it was.
            self._failed.exception()

    async def failure(self, stop: asyncio.Event) -> None:
        """Raise what stopped the stream, as soon as it did; return when ``stop`` is set."""
        stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
        standing = _Standing(_RESTORE_LOOKS)
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


def _stop_timeout_s(reach: Reach) -> float:
    return reach.wait_s(_STOP_TIMEOUT_S, without=_NO_BROKER_TIMEOUT_S)


async def _end(stopping: asyncio.Future[Any], *, within_s: float) -> None:
    """Cancel what has not ended by itself; raises what it failed with."""
    await cancel_until_ended([stopping], within_s)
    if stopping.done() and not stopping.cancelled():
        stopping.result()


def _record(event: Any, order: _FetchOrder) -> StreamRecord:
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
        Table=_ConfirmedTable,
    )
    app.transport = _Transport(app.conf.broker_consumer, app)
    app.transport.reach = kafka.reach
    app.transport.order = _FetchOrder()
    return app
