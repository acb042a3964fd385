"""Sends samples and log records to Kafka, and never lets Kafka hold the service up.

Messages wait in a bounded queue while the broker is away; when it is full, the oldest are dropped and
counted: of measurements, the newest matter. The producer is idempotent and waits for all replicas, so a
retry repeats nothing.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from examples.docrag.settings import Topics

log = logging.getLogger(__name__)

QUEUE_LIMIT = 600
RETRY_FIRST_S = 0.25
RETRY_MOST_S = 5.0
FLUSH_PATIENCE_S = 3.0


@dataclass(frozen=True)
class _Message:
    topic: str
    key: bytes
    value: bytes


class Publisher:
    """A background task that keeps a producer alive and empties the queue into it.

    With `bootstrap` None nothing is sent: the service can run without Kafka.
    """

    def __init__(self, bootstrap: str | None, topics: Topics) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._queue: deque[_Message] = deque()
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        self.connected = False

    async def __aenter__(self) -> Self:
        if self._bootstrap is not None:
            self._task = asyncio.create_task(self._run(self._bootstrap), name="publisher")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        if self.connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), FLUSH_PATIENCE_S)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def samples(self, batch: Mapping[str, Any]) -> None:
        """Queue a batch of samples, keyed by its component."""
        self._put(self._topics.metrics, batch)

    def record(self, component: str, severity: str, body: str, attributes: Mapping[str, Any]) -> None:
        """Queue a log record; severity is one of OpenTelemetry's: DEBUG INFO WARN ERROR FATAL."""
        now = time.time()
        fields = {"severity": severity, "body": body, "attributes": dict(attributes)}
        self._put(self._topics.logs, {"time": now, "component": component, **fields})

    def _put(self, topic: str, document: Mapping[str, Any]) -> None:
        if self._bootstrap is None:
            return
        if len(self._queue) >= QUEUE_LIMIT:
            self._queue.popleft()
            self.dropped += 1
        key = str(document["component"]).encode()
        self._queue.append(_Message(topic, key, json.dumps(document, allow_nan=False).encode()))
        self._idle.clear()
        self._filled.set()

    async def _run(self, bootstrap: str) -> None:
        pause = RETRY_FIRST_S
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=bootstrap,
                client_id="docrag",
                enable_idempotence=True,
                acks="all",
                request_timeout_ms=10_000,
                retry_backoff_ms=100,
            )
            try:
                await producer.start()
                self.connected = True
                pause = RETRY_FIRST_S
                log.info("connected to kafka", extra={"bootstrap": bootstrap})
                await self._drain(producer)
            except (KafkaError, OSError) as error:
                log.warning("kafka is not available", extra={"error": str(error), "retry_in_s": pause})
            finally:
                self.connected = False
                with contextlib.suppress(KafkaError, OSError, TimeoutError):
                    await asyncio.wait_for(producer.stop(), FLUSH_PATIENCE_S)
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_MOST_S)

    async def _drain(self, producer: AIOKafkaProducer) -> None:
        while True:
            while self._queue:
                message = self._queue[0]
                try:
                    await producer.send_and_wait(message.topic, message.value, key=message.key)
                except MessageSizeTooLargeError:
                    self.dropped += 1
                    log.exception("dropped a message that the broker will never take")
                # The queue may have dropped this very message while it was being sent.
                if self._queue and self._queue[0] is message:
                    self._queue.popleft()
            self._idle.set()
            self._filled.clear()
            await self._filled.wait()
