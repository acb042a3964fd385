"""A typed face on aiokafka: the one place that knows it.

Names of topics, groups and transactional ids take the namespace of the settings here and
nowhere else. Consumers read committed records only, never commit by themselves, and start at
the beginning of a topic where their group has committed nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFenced,
)
from aiokafka.partitioner import murmur2

from chassis.errors import DependencyUnavailable, Fenced, NotAssigned, TemporaryError
from chassis.kafka_stop import Reach, stop_client
from chassis.plain_records import PlainRecord, unwrap
from chassis.settings import KafkaSettings, Settings
from schemas.topics import TopicId, topic_name

MAX_REQUEST_BYTES = 1_048_576
_ABORT_WAIT_S = 5.0
_ADMIN_TIMEOUT_MS = 15_000


if TYPE_CHECKING:

    class TopicPartition(NamedTuple):
        """A partition of a topic, by the name that the broker knows."""

        topic: str
        partition: int
else:
    # aiokafka insists on its own class; only its types are missing.
    from aiokafka.structs import TopicPartition


class Record(PlainRecord, Protocol):
    """A fetched record with where it was read."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Appended:
    """Where the broker put a record; ``timestamp`` in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int


Posted = asyncio.Future[Any]
"""A record on its way."""


class RebalanceListener(Protocol):
    """Told before partitions are taken away and after they are given."""

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None: ...
    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None: ...


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, listener: RebalanceListener) -> None:
        self._listener = listener

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._listener.on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self._listener.on_partitions_assigned(assigned)


class Producer:
    """A started producer: every send is acknowledged by all replicas, none twice in the log."""

    def __init__(self, inner: Any, reach: Reach) -> None:
        self._inner = inner
        self._reach = reach

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes]] = (),
        partition: int | None = None,
    ) -> Appended:
        """Send one record and wait for its acknowledgement.

        Raises Fenced if another producer has taken this transactional id, and
        DependencyUnavailable if the broker does not answer.
        """
        return await (await self.enqueue(topic, value, key=key, headers=headers, partition=partition))

    async def enqueue(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes]] = (),
        partition: int | None = None,
    ) -> asyncio.Task[Appended]:
        """Put one record into the next batch; await the task for its acknowledgement."""
        return asyncio.ensure_future(
            _appended(await self.post(topic, value, key=key, headers=headers, partition=partition))
        )

    async def post(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes]] = (),
        partition: int | None = None,
    ) -> Posted:
        """As ``enqueue``, without a task for each of what may be thousands of records: what it gives
        belongs into the list of ``acknowledged``."""
        with _translated():
            posted: Posted = await self._inner.send(
                topic, value=value, key=key, headers=list(headers), partition=partition
            )
        return posted

    @contextlib.asynccontextmanager
    async def acknowledged(self) -> AsyncIterator[list[Posted]]:
        """Gives a list for what is posted within, and waits until each of it is acknowledged or has
        failed. Raises what was raised within, else the first failure."""
        posted: list[Posted] = []
        try:
            yield posted
        finally:
            # Each is asked, since a failure that nobody looks at is a warning.
            answers = await asyncio.gather(*posted, return_exceptions=True)
        with _translated():
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All that is sent within is committed together, or, on an exception, not at all."""
        with _translated():
            await self._inner.begin_transaction()
            try:
                yield
            except BaseException:
                # A producer that was fenced cannot abort any more, and aiokafka asserts it. A broker
                # that is away is not waited for: whoever initialises the id next aborts it.
                with contextlib.suppress(KafkaError, AssertionError, TimeoutError):
                    await asyncio.wait_for(self._inner.abort_transaction(), self._reach.wait_s(_ABORT_WAIT_S))
                raise
            await self._inner.commit_transaction()

    async def commit_offsets(self, offsets: Mapping[TopicPartition, int], *, group: str) -> None:
        """Within a transaction: commit these next offsets of ``group`` with it, or not at all."""
        with _translated():
            await self._inner.send_offsets_to_transaction(dict(offsets), group)

    async def flush(self) -> None:
        """Wait until all that was enqueued is acknowledged."""
        with _translated():
            await self._inner.flush()


async def _appended(future: Any) -> Appended:
    with _translated():
        meta = await future
    return Appended(meta.topic, meta.partition, meta.offset, meta.timestamp)


class Consumer:
    """A started consumer. The caller commits, after its work is done."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.last_poll = time.monotonic()

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        """What has been fetched, by partition, in order; waits up to ``timeout_ms`` for something."""
        with _translated():
            fetched = await self._inner.getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        self.last_poll = time.monotonic()
        return cast("Mapping[TopicPartition, Sequence[Record]]", fetched)

    async def getmany_plain(
        self, *, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, Sequence[PlainRecord]]:
        """As ``getmany``, for a consumer of plain records."""
        return await self.getmany(timeout_ms=timeout_ms, max_records=max_records)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit the offsets of the next records to read; raises NotAssigned after a rebalance."""
        with _translated():
            await self._inner.commit(dict(offsets))

    async def try_commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit offsets that only tell operators the lag; False where a rebalance is in the way."""
        try:
            await self.commit(offsets)
        except (KafkaError, TemporaryError):
            return False
        return True

    async def committed(self, partition: TopicPartition) -> int | None:
        with _translated():
            return cast("int | None", await self._inner.committed(partition))

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(TopicPartition(*part) for part in self._inner.assignment())

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._inner.seek(partition, offset)

    async def position(self, partition: TopicPartition) -> int:
        with _translated():
            return cast("int", await self._inner.position(partition))

    def highwater(self, partition: TopicPartition) -> int | None:
        return cast("int | None", self._inner.highwater(partition))

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        with _translated():
            return cast("dict[TopicPartition, int]", await self._inner.beginning_offsets(list(partitions)))

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offsets after the last records that are stable (committed)."""
        with _translated():
            return cast("dict[TopicPartition, int]", await self._inner.end_offsets(list(partitions)))

    async def offsets_for_times(
        self, times_ms: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int | None]:
        """The first offset at or after each time (ms since the epoch), None where there is none."""
        with _translated():
            found = await self._inner.offsets_for_times(dict(times_ms))
        return {part: None if place is None else place.offset for part, place in found.items()}

    def pause(self, *partitions: TopicPartition) -> None:
        self._inner.pause(*partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._inner.resume(*partitions)

    def partitions_for(self, topic: str) -> frozenset[int]:
        return frozenset(self._inner.partitions_for_topic(topic) or ())


@contextlib.contextmanager
def _translated() -> Any:
    """aiokafka's errors as ours."""
    try:
        yield
    except ProducerFenced as error:
        raise Fenced(f"another process has taken over: {error}") from error
    except (CommitFailedError, IllegalStateError) as error:
        raise NotAssigned(f"the group has moved the partitions: {error}") from error
    except (KafkaConnectionError, KafkaTimeoutError) as error:
        raise DependencyUnavailable(f"Kafka does not answer: {error}") from error
    except KafkaError as error:
        # The base class itself is what a producer ends with that a lost connection has surprised.
        if not error.retriable and type(error) is not KafkaError:
            raise
        raise DependencyUnavailable(f"Kafka does not answer as it should: {error!r}") from error


class Kafka:
    """Makes clients for one cluster and one namespace."""

    def __init__(self, bootstrap_servers: str, settings: KafkaSettings, *, client_id: str) -> None:
        self._bootstrap = bootstrap_servers
        self._settings = settings
        self._client_id = client_id
        self.reach = Reach(self.check)

    @classmethod
    def of(cls, settings: Settings, service: str) -> Kafka:
        """The cluster of these settings; raises ConfigError when none is set."""
        client_id = f"backout-{service}-{settings.instance}"
        return cls(settings.bootstrap_servers, settings.kafka, client_id=client_id)

    @property
    def bootstrap_servers(self) -> str:
        return self._bootstrap

    def topic(self, topic: TopicId) -> str:
        """The topic's name on the broker."""
        return topic_name(topic, self._settings.namespace)

    def group(self, name: str) -> str:
        """The group's (or transactional) id on the broker."""
        return f"{self._settings.namespace}backout-{name}"

    @contextlib.asynccontextmanager
    async def producer(
        self,
        *,
        transactional_id: str | None = None,
        linger_ms: int = 0,
        max_batch_bytes: int = 16_384,
        transaction_timeout_ms: int = 60_000,
    ) -> AsyncIterator[Producer]:
        """An idempotent producer; with ``transactional_id``, one that fences its predecessors.

        While a transaction is open, readers of committed records see nothing that was appended
        after it began: ``transaction_timeout_ms`` bounds how long one left open may hold them up. A
        partition's batches are sent one after the other: who sends much at once wants larger ones.
        """
        inner = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            transactional_id=transactional_id,
            transaction_timeout_ms=transaction_timeout_ms,
            linger_ms=linger_ms,
            max_batch_size=max_batch_bytes,
            # A broker answers some transactional sends with a passing error; the default wait of
            # 100 ms is the greater part of their p99.
            retry_backoff_ms=5,
            max_request_size=MAX_REQUEST_BYTES,
            request_timeout_ms=20_000,
        )
        async with _started(inner, self.reach):
            yield Producer(inner, self.reach)

    @contextlib.asynccontextmanager
    async def consumer(
        self,
        *topics: str,
        group: str | None = None,
        instance: str | None = None,
        listener: RebalanceListener | None = None,
        read_uncommitted: bool = False,
        fetch_max_wait_ms: int = 50,
        max_partition_fetch_bytes: int = 4 * MAX_REQUEST_BYTES,
        max_poll_interval_ms: int = 300_000,
        from_end: bool = False,
        plain: bool = False,
    ) -> AsyncIterator[Consumer]:
        """A consumer of ``topics``: in ``group``, or by itself on all their partitions.

        ``instance`` is the member's stable name in the group (static membership). With ``plain`` it
        gives plain records, which are cheaper: poll it with ``getmany_plain`` only.
        """
        inner = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            group_id=group,
            group_instance_id=instance if group and self._settings.static_membership else None,
            enable_auto_commit=False,
            auto_offset_reset="latest" if from_end else "earliest",
            isolation_level="read_uncommitted" if read_uncommitted else "read_committed",
            session_timeout_ms=self._settings.session_timeout_ms,
            heartbeat_interval_ms=max(300, self._settings.session_timeout_ms // 4),
            max_poll_interval_ms=max_poll_interval_ms,
            fetch_max_wait_ms=fetch_max_wait_ms,
            max_partition_fetch_bytes=max_partition_fetch_bytes,
        )
        inner.subscribe(list(topics), listener=_Listener(listener) if listener else None)
        async with _started(inner, self.reach):
            if plain:
                unwrap(inner)
            yield Consumer(inner)

    @contextlib.asynccontextmanager
    async def reader(self, *partitions: TopicPartition) -> AsyncIterator[Consumer]:
        """A consumer outside any group, on exactly these partitions, placed by ``seek``."""
        inner = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=50,
        )
        inner.assign(list(partitions))
        async with _started(inner, self.reach):
            yield Consumer(inner)

    @contextlib.asynccontextmanager
    async def admin(self) -> AsyncIterator[Any]:
        """aiokafka's admin client (untyped: only chassis.kafka_admin uses it)."""
        inner = AIOKafkaAdminClient(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            # A person waits for it. The default is 40 s.
            request_timeout_ms=_ADMIN_TIMEOUT_MS,
        )
        try:
            with _translated():
                await inner.start()
            yield inner
        finally:
            await inner.close()

    async def check(self) -> None:
        """Ask the brokers for their metadata; raises DependencyUnavailable if they do not answer."""
        try:
            async with self.admin() as admin:
                await admin.describe_cluster()
            self.reach.answered()
        except (KafkaError, DependencyUnavailable, OSError) as error:
            raise DependencyUnavailable(f"no answer from Kafka at {self._bootstrap}: {error}") from error

    async def wait_until_reachable(self, timeout_s: float = 60.0) -> None:
        """Poll the brokers until they answer; raises DependencyUnavailable after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        pause = 0.1
        while True:
            try:
                return await self.check()
            except DependencyUnavailable:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 1.5)


def partition_for_key(key: bytes, partitions: int) -> int:
    """The partition that Kafka's own clients give a key, of so many."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


@contextlib.asynccontextmanager
async def _started(inner: Any, reach: Reach) -> AsyncIterator[None]:
    """Start and always stop: an unstopped member keeps its group waiting."""
    try:
        with _translated():
            await inner.start()
        yield
    finally:
        failure = await stop_client(inner, reach)
        if failure is not None and not isinstance(failure, KafkaError):
            raise failure


async def read_range(
    kafka: Kafka,
    partition: TopicPartition,
    first: int,
    last: int,
    *,
    each: Callable[[Record], None],
    timeout_s: float = 60.0,
) -> None:
    """Give ``each`` every record from offset ``first`` to ``last``, both included, in order.

    Offsets that hold no record (transaction markers, compacted ones) are passed over. Raises
    DependencyUnavailable if the range cannot be read to its end in ``timeout_s``.
    """
    if last < first:
        return
    deadline = time.monotonic() + timeout_s
    async with kafka.reader(partition) as consumer:
        begin = (await consumer.beginning_offsets([partition]))[partition]
        consumer.seek(partition, max(first, begin))
        while await consumer.position(partition) <= last:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    if record.offset <= last:
                        each(record)
            if time.monotonic() > deadline:
                raise DependencyUnavailable(
                    f"{partition.topic}[{partition.partition}] was not read to {last}"
                )
