"""Keeps the latest decisions of backout's circuit breakers in memory.

    async with BreakerClient("kafka:9092", when_stale="closed") as breakers:
        await breakers.wait_until_read(timeout_s=5)
        decision = breakers.decide("pdf_extraction")
        if not decision.allowed: ...       # use decision.fallback

One background task reads the compacted topic from its beginning and then follows it. Whatever
becomes of Kafka or the monitor, ``decide`` answers at once: by the last decision while it is
fresh, as configured when it is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from backout_client.decisions import Decision, Decisions, Taken, WhenStale
from backout_client.reading import State, UnreadableRecord, read_record

BREAKERS_TOPIC = "backout.breakers.v1"
_RETRY_FIRST_S, _RETRY_MOST_S = 0.25, 5.0
_UNEXPECTED_RETRY_MOST_S = 30.0
"""What is no failure of the network does not pass by itself, and is tried less often."""
_QUIET_S, _ANSWER_PATIENCE_S = 10.0, 5.0
"""A sign of life comes every 5 to 7 s: after more silence than this the broker is asked for its own."""
_ASSIGNMENT_PATIENCE_S, _ASSIGNMENT_POLL_S = 10.0, 0.02
_TELL_EVERY_S = 60.0
_NOT_CONNECTED = "not connected yet"

log = logging.getLogger(__name__)


class BreakerClient:
    """Answers ``decide(component)``. Enter it to start reading.

    ``topic`` takes backout's namespace in front, if there is one. ``when_stale`` is what a breaker
    counts as when there was no sign of life of the monitor for ``stale_after_s``, or its evaluation
    was more than ``max_behind_s`` behind: "closed" lets calls through, "open" does not, with
    ``stale_fallback`` where no decision is known. ``consumer_options`` go to aiokafka (TLS, SASL).
    Entering raises ValueError where no consumer can be made of them.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        topic: str = BREAKERS_TOPIC,
        when_stale: WhenStale = "closed",
        stale_after_s: float = 30.0,
        max_behind_s: float | None = 120.0,
        stale_fallback: str | None = None,
        client_id: str = "backout-client",
        consumer_options: Mapping[str, Any] | None = None,
    ) -> None:
        if when_stale not in ("open", "closed"):
            raise ValueError(f"when_stale must be 'open' or 'closed', not {when_stale!r}")
        if stale_after_s <= 0:
            raise ValueError(f"stale_after_s must be more than 0, not {stale_after_s}")
        self._topic = topic
        self._options = {
            "bootstrap_servers": bootstrap_servers,
            "client_id": client_id,
            **(consumer_options or {}),
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
        }
        self._decisions = Decisions(when_stale, stale_after_s, max_behind_s, stale_fallback)
        self._read = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._told_unreadable = -math.inf
        self.unreadable = 0
        """Records that were passed over because this client does not read them."""
        self.problem: str | None = _NOT_CONNECTED
        """What is wrong with the connection now; None while the topic is followed."""
        self.decide = self._decisions.decide
        """``decide(component) -> Decision``: what to do with a call now. Waits for nothing and never
        raises; may be called from any thread."""

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise RuntimeError("this client is entered already: it reads, and answers everybody who asks it")
        self._read, self._closing = asyncio.Event(), asyncio.Event()
        try:
            await AIOKafkaConsumer(**self._options).stop()
        except Exception as error:
            # No later attempt could do better, so whoever configured it is told at once.
            raise ValueError(
                f"no consumer can be made: {error}. Check bootstrap_servers and consumer_options"
            ) from error
        self.problem = _NOT_CONNECTED
        self._task = asyncio.create_task(self._run(), name="backout breakers")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        self._closing.set()
        # A single cancellation may be lost: `wait_for` swallows one that comes as it ends.
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_RETRY_FIRST_S)
        self.problem = self.problem or "left: the topic is not read any more"

    async def wait_until_read(self, timeout_s: float) -> bool:
        """Wait until the topic was read to its end once; False if that takes longer."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._read.wait(), timeout_s)
        return self._read.is_set()

    @property
    def sign_of_life_age_s(self) -> float | None:
        """Seconds since the newest sign of life of a monitor; None before any."""
        return self._decisions.age_s()

    def components(self) -> dict[str, State]:
        """The components that a decision is known of, with their latest state."""
        return self._decisions.components()

    async def _run(self) -> None:
        pause, told = _RETRY_FIRST_S, None
        while not self._closing.is_set():
            try:
                await self._connect()
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and self._is_cancelled():
                    raise
                # Whatever it is, decisions go stale and say so; giving up would leave them stale for good.
                expected = isinstance(error, KafkaError | OSError | _NoTopic | _NoAnswer)
                if self.problem is None:
                    pause, told = _RETRY_FIRST_S, None
                else:
                    pause = min(pause * 2, _RETRY_MOST_S if expected else _UNEXPECTED_RETRY_MOST_S)
                kind = type(error).__name__
                self.problem = (str(error) or kind) if expected else f"{kind}: {error}"
                if self.problem != told:
                    told = self.problem
                    log.warning(
                        "the breakers topic cannot be read, and is tried again: %s",
                        told,
                        exc_info=None if expected else error,
                    )
            await asyncio.sleep(pause)

    def _is_cancelled(self) -> bool:
        """Whether it was this task that was cancelled, and not something that aiokafka waits for inside."""
        task = asyncio.current_task()
        return self._closing.is_set() or (task is not None and task.cancelling() > 0)

    async def _connect(self) -> None:
        """Follow the topic with a consumer of its own until that fails."""
        consumer = AIOKafkaConsumer(**self._options)
        try:
            await consumer.start()
            await self._follow(consumer)
        finally:
            await _settled(consumer.stop(), _RETRY_MOST_S)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        """Read from the beginning to the end, take all of it at once, and then what comes."""
        partitions = await self._partitions(consumer)
        await consumer.seek_to_beginning(*partitions)
        complete = time.monotonic()
        ends = await consumer.end_offsets(partitions)
        records: list[Any] = []
        while any([await consumer.position(part) < ends[part] for part in partitions]):
            for fetched in (await consumer.getmany(timeout_ms=500)).values():
                records += fetched
        self._decisions.replace(self._read_all(records, math.inf))
        self._decisions.read_once = True
        self._read.set()
        self.problem = None
        while True:
            asked = time.monotonic()
            for fetched in (await consumer.getmany(timeout_ms=1_000)).values():
                # Written since all that there was had been read: so old they are at most, whatever
                # the clocks say.
                for taken in self._read_all(fetched, time.monotonic() - complete):
                    self._decisions.take(taken)
                complete = asked
            if asked - complete > _QUIET_S:
                await self._ask(consumer, partitions)
                complete = asked

    async def _ask(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Raises _NoAnswer where the broker is gone: the consumer itself waits for it without a word."""
        if not await _settled(consumer.end_offsets(partitions), _ANSWER_PATIENCE_S):
            raise _NoAnswer(f"the broker has not answered for {_ANSWER_PATIENCE_S:g} s")

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        """Every partition of the topic: without a group, the consumer is given them all."""
        # A consumer that subscribes to a topic that is missing waits for it for long, and loudly.
        if self._topic not in await consumer.topics():
            raise _NoTopic(f"there is no topic {self._topic}: `backout topics init` creates it")
        consumer.subscribe([self._topic])
        deadline = time.monotonic() + _ASSIGNMENT_PATIENCE_S
        while not consumer.assignment():
            if time.monotonic() > deadline:
                raise _NoTopic(f"no partition of {self._topic} is given out")
            await asyncio.sleep(_ASSIGNMENT_POLL_S)
        return sorted(consumer.assignment())

    def _read_all(self, records: list[Any], oldest_s: float) -> list[Taken]:
        """What these records say; none of them was written longer ago than ``oldest_s``."""
        now = time.time()
        read: list[Taken] = []
        for record in records:
            try:
                item = read_record(record.key, record.value)
            except UnreadableRecord as error:
                self._pass_over(record, error)
                continue
            if item is not None:
                written = record.timestamp / 1000
                read.append(Taken(item, written, age_s=max(0.0, min(now - written, oldest_s))))
        return read

    def _pass_over(self, record: Any, error: UnreadableRecord) -> None:
        """Count it, and say so once a minute at most: a topic may be full of what is not the monitor's."""
        self.unreadable += 1
        if time.monotonic() - self._told_unreadable >= _TELL_EVERY_S:
            self._told_unreadable = time.monotonic()
            place = f"{record.topic}[{record.partition}] at offset {record.offset}"
            log.warning("%s is passed over (the %d. such record): %s", place, self.unreadable, error)


async def _settled(work: Coroutine[Any, Any, object], timeout_s: float) -> bool:
    """Whether the work was done within that time, and without an error.

    It has a task of its own: what aiokafka cancels inside when the broker is gone comes out of it as a
    cancellation, and would end the task that waits for it."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=timeout_s)
    finally:
        task.cancel()
    return task.done() and not task.cancelled() and task.exception() is None


class _NoTopic(Exception):
    """The broker answers, and the topic cannot be read from it yet."""


class _NoAnswer(Exception):
    """The broker that the topic was read from does not answer any more."""


__all__ = ["BREAKERS_TOPIC", "BreakerClient", "Decision"]
