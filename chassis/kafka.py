"""Clients of one Kafka cluster, made and always stopped; what they can do is in ``chassis.kafka_clients``.

Nobody else knows aiokafka but these two and ``chassis.kafka_admin``. Names of topics, groups and
transactional ids take the namespace of the settings here and nowhere else. Consumers read committed
records only, never commit by themselves, and start at the beginning of a topic where their group has
committed nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError
from aiokafka.partitioner import murmur2

from chassis.errors import DependencyUnavailable
from chassis.kafka_clients import (
    Appended,
    Consumer,
    Posted,
    Producer,
    Record,
    TopicPartition,
    translated,
)
from chassis.kafka_membership import Memberships
from chassis.kafka_stop import Reach, stop_client
from chassis.plain_records import unwrap
from chassis.settings import KafkaSettings, Settings
from schemas.topics import TopicId, topic_name

__all__ = [
    "MAX_REQUEST_BYTES",
    "Appended",
    "Consumer",
    "Kafka",
    "Posted",
    "Producer",
    "RebalanceListener",
    "Record",
    "TopicPartition",
    "partition_for_key",
    "read_range",
]

MAX_REQUEST_BYTES = 1_048_576
_ADMIN_TIMEOUT_MS = 15_000


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


class _Member(AIOKafkaConsumer):  # type: ignore[misc]
    """A consumer whose coordinator is watched from before it joins: aiokafka makes it in ``start``, where it
    goes on to join at once."""

    memberships: Memberships
    _watched: Any = None

    @property
    def _coordinator(self) -> Any:
        return self._watched

    @_coordinator.setter
    def _coordinator(self, made: Any) -> None:
        self._watched = made
        if made is not None and self._group_id is not None:
            self.memberships.watch(made)


class Kafka:
    """Makes clients for one cluster and one namespace."""

    def __init__(self, bootstrap_servers: str, settings: KafkaSettings, *, client_id: str) -> None:
        self._bootstrap = bootstrap_servers
        self._settings = settings
        self._client_id = client_id
        self.reach = Reach(self.check)
        self._memberships = Memberships()

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
        metadata_max_age_ms: int = 300_000,
        from_end: bool = False,
        plain: bool = False,
    ) -> AsyncIterator[Consumer]:
        """A consumer of ``topics``: in ``group``, or by itself on all their partitions.

        ``instance`` is the member's stable name in the group (static membership): one that another process
        joins with is theirs, which starting and polling tell with InstanceNameTaken. A partition that was
        added is noticed after up to ``metadata_max_age_ms``, as is a topic that was missing. With ``plain``
        it gives plain records, which are cheaper: poll it with ``getmany_plain`` only.
        """
        inner = _Member(
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
            metadata_max_age_ms=metadata_max_age_ms,
            fetch_max_wait_ms=fetch_max_wait_ms,
            max_partition_fetch_bytes=max_partition_fetch_bytes,
        )
        inner.memberships = self._memberships
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
            with translated():
                try:
                    await inner.start()
                except (KafkaConnectionError, KafkaTimeoutError) as error:
                    raise DependencyUnavailable(f"no answer from Kafka at {self._bootstrap}") from error
            yield inner
        finally:
            await inner.close()

    async def check(self) -> None:
        """Ask the brokers for their metadata; raises DependencyUnavailable if they do not answer."""
        try:
            async with self.admin() as admin:
                await admin.describe_cluster()
            self.reach.answered()
        except (KafkaError, OSError) as error:
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
        with translated():
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
    enough: Callable[[], bool] = lambda: False,
    timeout_s: float = 60.0,
) -> int:
    """Give ``each`` every record from offset ``first`` to ``last``, both included, in order, until
    ``enough``; the offset to read on at.

    Offsets that hold no record (transaction markers, compacted ones) are passed over. Raises
    DependencyUnavailable if the range cannot be read to its end in ``timeout_s``.
    """
    if last < first:
        return first
    deadline = time.monotonic() + timeout_s
    async with kafka.reader(partition) as consumer:
        begin = (await consumer.beginning_offsets([partition]))[partition]
        consumer.seek(partition, max(first, begin))
        while await consumer.position(partition) <= last:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    if record.offset <= last:
                        each(record)
                        if enough():
                            return record.offset + 1
            if time.monotonic() > deadline:
                raise DependencyUnavailable(
                    f"{partition.topic}[{partition.partition}] was not read to {last}"
                )
    return last + 1
