"""What a started client of Kafka can do: a typed face on aiokafka's producer and consumer.

``chassis.kafka`` makes and stops them. Every error of aiokafka is one of ours here: who uses a client
asks whether a broker may answer later, not which of a hundred classes it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypedDict, Unpack, cast

from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFenced,
)

from chassis.errors import DependencyUnavailable, Fenced, NotAssigned, TemporaryError
from chassis.kafka_membership import FencedInstanceIdError, taken
from chassis.kafka_stop import Reach
from chassis.plain_records import PlainRecord

_ABORT_WAIT_S = 5.0


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


class Addressing(TypedDict, total=False):
    """What a record may have beside its topic and its value. Without ``partition`` the key decides, and
    without a key any partition will do."""

    key: bytes | None
    headers: Iterable[tuple[str, bytes]]
    partition: int | None


class Producer:
    """A started producer: every send is acknowledged by all replicas, none twice in the log."""

    def __init__(self, inner: Any, reach: Reach) -> None:
        self._inner = inner
        self._reach = reach

    async def send(self, topic: str, value: bytes | None, **addressing: Unpack[Addressing]) -> Appended:
        """Send one record and wait for its acknowledgement.

        Raises Fenced if another producer has taken this transactional id, and
        DependencyUnavailable if the broker does not answer.
        """
        return await (await self.enqueue(topic, value, **addressing))

    async def enqueue(
        self, topic: str, value: bytes | None, **addressing: Unpack[Addressing]
    ) -> asyncio.Task[Appended]:
        """Put one record into the next batch; await the task for its acknowledgement."""
        return asyncio.ensure_future(_appended(await self.post(topic, value, **addressing)))

    async def post(self, topic: str, value: bytes | None, **addressing: Unpack[Addressing]) -> Posted:
        """As ``enqueue``, without a task for each of what may be thousands of records: what it gives
        belongs into the list of ``acknowledged``."""
        with translated():
            posted: Posted = await self._inner.send(
                topic,
                value=value,
                key=addressing.get("key"),
                headers=list(addressing.get("headers", ())),
                partition=addressing.get("partition"),
            )
        return posted

    async def post_all(
        self, place: TopicPartition, records: Iterable[tuple[bytes, bytes | None]]
    ) -> list[Posted]:
        """As ``post`` for each of these (key, value) in their order, but with one future a batch: of
        thousands of small records most of the time went into a future each."""
        posted: list[Posted] = []
        with translated():
            batch = self._inner.create_batch()
            for key, value in records:
                if batch.append(key=key, value=value, timestamp=None) is None:
                    posted.append(await self._post_batch(place, batch))
                    batch = self._inner.create_batch()
                    # A batch takes its first record whatever the size; the broker may refuse it.
                    batch.append(key=key, value=value, timestamp=None)
            if batch.record_count():
                posted.append(await self._post_batch(place, batch))
        return posted

    async def _post_batch(self, place: TopicPartition, batch: Any) -> Posted:
        # What is posted afterwards by itself must not get into it.
        batch.close()
        sent: Posted = await self._inner.send_batch(batch, place.topic, partition=place.partition)
        return sent

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
        with translated():
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All that is sent within is committed together, or, on an exception, not at all."""
        with translated():
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
        with translated():
            await self._inner.send_offsets_to_transaction(dict(offsets), group)

    async def flush(self) -> None:
        """Wait until all that was enqueued is acknowledged."""
        with translated():
            await self._inner.flush()


async def _appended(future: Any) -> Appended:
    with translated():
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
        with translated():
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
        with translated():
            await self._inner.commit(dict(offsets))

    async def try_commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit offsets that only tell operators the lag; False where a rebalance is in the way."""
        try:
            await self.commit(offsets)
        except (KafkaError, TemporaryError):
            return False
        return True

    async def committed(self, partition: TopicPartition) -> int | None:
        with translated():
            return cast("int | None", await self._inner.committed(partition))

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(TopicPartition(*part) for part in self._inner.assignment())

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._inner.seek(partition, offset)

    async def position(self, partition: TopicPartition) -> int:
        with translated():
            return cast("int", await self._inner.position(partition))

    def highwater(self, partition: TopicPartition) -> int | None:
        return cast("int | None", self._inner.highwater(partition))

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        with translated():
            return cast("dict[TopicPartition, int]", await self._inner.beginning_offsets(list(partitions)))

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offsets after the last records that are stable (committed)."""
        with translated():
            return cast("dict[TopicPartition, int]", await self._inner.end_offsets(list(partitions)))

    async def offsets_for_times(
        self, times_ms: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int | None]:
        """The first offset at or after each time (ms since the epoch), None where there is none."""
        with translated():
            found = await self._inner.offsets_for_times(dict(times_ms))
        return {part: None if place is None else place.offset for part, place in found.items()}

    def pause(self, *partitions: TopicPartition) -> None:
        self._inner.pause(*partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._inner.resume(*partitions)

    def partitions_for(self, topic: str) -> frozenset[int]:
        return frozenset(self._inner.partitions_for_topic(topic) or ())


@contextlib.contextmanager
def translated() -> Any:
    """aiokafka's errors as ours."""
    try:
        yield
    except ProducerFenced as error:
        raise Fenced(f"another process has taken over: {error}") from error
    except FencedInstanceIdError as error:
        raise taken(error) from error
    except (CommitFailedError, IllegalStateError) as error:
        raise NotAssigned(f"the group has moved the partitions: {error}") from error
    except (KafkaConnectionError, KafkaTimeoutError) as error:
        raise DependencyUnavailable(f"Kafka does not answer: {error}") from error
    except KafkaError as error:
        # The base class itself is what a producer ends with that a lost connection has surprised.
        if not error.retriable and type(error) is not KafkaError:
            raise
        raise DependencyUnavailable(f"Kafka does not answer as it should: {error!r}") from error
