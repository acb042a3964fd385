"""The monitor's loop: read what is there, decide, write, and let time pass where it is silent.

The consumer group hands partitions out. A partition is worked on only between being given and
being taken away; both happen under the lock that every turn of the loop holds, and what was
fetched before a hand-over is read again after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import structlog

from chassis.clock import Clock
from chassis.errors import BackoutError
from chassis.kafka import Consumer, Producer, TopicPartition
from chassis.plain_records import PlainRecord
from schemas.metrics import encode_clock
from services.monitor.handlers.handovers import POLL_MS
from services.monitor.handlers.partition import Partition

log = structlog.get_logger(__name__)
TakeOver = Callable[[int], Awaitable[Partition]]

RELEASE_WAIT_S = 5.0
"""How long the last write of a partition that is let go may take: its next owner waits, and so does
whoever asked for the stop."""
MAX_WRITING_S = 30.0
"""A transaction that takes longer is no slow one: nobody hears what is decided."""
LOOK_EVERY_S = 1.0
"""How often it is looked how much is left to read."""
_TURNS_TO_SEND = 8
"""Turns of the event loop from the begin of a transaction, or from an answer within one, until its next
request has been handed to the system; a few more do no harm."""
COMMIT_EVERY_S = 1.0
"""How often the group's offsets are committed: operators read the lag from them, nothing else does."""


class Watch:
    """Owns the partitions that the group gives this process."""

    def __init__(
        self,
        take_over: TakeOver,
        clock_producer: Producer,
        clock: Clock,
        *,
        silence_s: float,
        heartbeat_s: float,
        max_records: int,
    ) -> None:
        self._take_over = take_over
        self._clock_producer = clock_producer
        self._clock = clock
        self._silence_s = silence_s
        self._heartbeat_s = heartbeat_s
        self._max_records = max_records
        self._owned: dict[TopicPartition, Partition] = {}
        self._lock = asyncio.Lock()
        self._handovers = 0
        self._failure: BaseException | None = None
        self._consumer: Consumer | None = None
        self._beat_at = -heartbeat_s
        self._looked_at = -LOOK_EVERY_S
        self._committed_at = 0.0
        self._committed: dict[TopicPartition, int] = {}

    def attach(self, consumer: Consumer) -> None:
        """The consumer is made after its listener, which this is."""
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Write what is decided, where that is still allowed, and let go."""
        async with self._lock:
            self._handovers += 1
            await self._release_all([place for place in self._owned if place in revoked])

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Take over. What goes wrong ends the loop: the client would only log it."""
        async with self._lock:
            self._handovers += 1
            wanted = sorted(place for place in assigned if place not in self._owned)
            taking = (self._take_over(place.partition) for place in wanted)
            for place, taken in zip(
                wanted, await asyncio.gather(*taking, return_exceptions=True), strict=True
            ):
                if isinstance(taken, BaseException):
                    self._failure = taken
                else:
                    self._owned[place] = taken

    async def probe(self) -> str | None:
        """Whether what is decided is written: the client of the broker tries for as long as it likes."""
        late = [
            f"{place.partition} for {partition.writing_for_s:.0f} s"
            for place, partition in sorted(self._owned.items())
            if partition.writing_for_s > MAX_WRITING_S
        ]
        return f"no transaction is committed of partition {', '.join(late)}" if late else None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set. Raises what ended the work otherwise."""
        consumer = self._consumer
        if consumer is None:
            raise RuntimeError("attach() comes first")
        try:
            await self._work(consumer, stop)
            async with self._lock:
                await self._release_all(list(self._owned))
        finally:
            await self.close()

    async def close(self) -> None:
        """Let go of what is still owned: partitions are given before the loop begins, too."""
        owned, self._owned = self._owned, {}
        await asyncio.gather(*(partition.close() for partition in owned.values()))

    async def _work(self, consumer: Consumer, stop: asyncio.Event) -> None:
        handovers = -1
        while not stop.is_set():
            if handovers != self._handovers:
                handovers = await self._seek(consumer)
            fetched = await consumer.getmany_plain(timeout_ms=POLL_MS, max_records=self._max_records)
            async with self._lock:
                self._raise_failure()
                if handovers == self._handovers:
                    await self._turn(consumer, fetched)

    async def _seek(self, consumer: Consumer) -> int:
        """Place the consumer where each owned partition goes on."""
        async with self._lock:
            self._raise_failure()
            for place, partition in self._owned.items():
                consumer.seek(place, partition.next_offset)
            return self._handovers

    async def _turn(
        self, consumer: Consumer, fetched: Mapping[TopicPartition, Sequence[PlainRecord]]
    ) -> None:
        now = self._clock.monotonic()
        for place, records in fetched.items():
            if records:
                partition = self._owned[place]
                partition.take(records)
                await partition.predict()
                partition.write_if_due()
                await self._let_writes_go_on()
        await self._look_ahead(consumer, now)
        for partition in self._owned.values():
            partition.write_if_due()
        await self._let_time_pass(consumer, now)
        await self._commit(consumer, now)

    async def _let_writes_go_on(self) -> None:
        """All partitions reach a second at about the same time: what one has decided then is on its way
        while the next one decides, and does not wait for the last."""
        if any(partition.is_writing for partition in self._owned.values()):
            for _ in range(_TURNS_TO_SEND):
                await asyncio.sleep(0)

    async def _look_ahead(self, consumer: Consumer, now: float) -> None:
        """Note how much of each partition is left to read, and from time to time have it told that it is
        evaluated; not before the broker has told its end."""
        beats = now - self._beat_at >= self._heartbeat_s
        if not beats and now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        for place, partition in self._owned.items():
            end = consumer.highwater(place)
            if end is None:
                continue
            partition.note_behind(max(0, end - await consumer.position(place)))
            if beats:
                self._beat_at = now
                partition.beat()

    async def _let_time_pass(self, consumer: Consumer, now: float) -> None:
        """Append a clock record to each partition that is read to its end and whose time stands still."""
        silent = {
            place: partition
            for place, partition in self._owned.items()
            if now - partition.time_moved >= self._silence_s
        }
        if not silent:
            return
        ends = await consumer.end_offsets(silent)
        for place, partition in silent.items():
            partition.time_moved = now
            wall = self._clock.now().timestamp()
            time = partition.clock_time(wall)
            if time is not None and await consumer.position(place) >= ends[place]:
                await self._clock_producer.send(place.topic, encode_clock(time), partition=place.partition)

    async def _commit(self, consumer: Consumer, now: float) -> None:
        if now - self._committed_at < COMMIT_EVERY_S:
            return
        offsets = {place: partition.next_offset for place, partition in self._owned.items()}
        if offsets != self._committed:
            await consumer.try_commit(offsets)
        self._committed, self._committed_at = offsets, now

    async def _release_all(self, places: Collection[TopicPartition]) -> None:
        ended = await asyncio.gather(*(self._release(place) for place in places), return_exceptions=True)
        for failure in ended:
            if failure is not None:
                raise failure

    async def _release(self, place: TopicPartition) -> None:
        partition = self._owned.pop(place)
        try:
            async with asyncio.timeout(RELEASE_WAIT_S):
                await partition.finish()
        except (BackoutError, TimeoutError) as error:
            # Its next owner reads the same records again and decides the same.
            log.warning(
                "left without writing", partition=place.partition, error=str(error) or type(error).__name__
            )
        finally:
            await partition.close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
