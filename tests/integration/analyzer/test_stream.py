"""The stream's promise on real topics: each record is handed over, also those that come while it starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chassis.kafka import Kafka, Producer
from chassis.kafka_admin import ensure_own_topic
from chassis.settings import Settings
from services.analyzer.adapters.faust_driver import CommittedThread
from services.analyzer.adapters.stream import IncidentStream, StreamRecord
from services.analyzer.domain.incident import Incident
from tests.polling import eventually

_HANDLING_S = 0.02
# Some records are handled while the seek takes so long, and some still wait in a queue: the seek itself may
# have to wait for a fetch of a second.
_SEEK_S = 0.2
_RECORDS = 120


@pytest.fixture
async def producer(kafka: Kafka) -> AsyncIterator[Producer]:
    async with kafka.producer() as made:
        yield made


class Taken:
    """Notes the offsets that a stream hands over, and takes its time as a database does."""

    def __init__(self) -> None:
        self.offsets: list[int] = []

    async def handle(self, record: StreamRecord) -> bool:
        await asyncio.sleep(_HANDLING_S)
        self.offsets.append(record.offset)
        return True

    async def has(self, offset: int) -> bool:
        return offset in self.offsets


@pytest.mark.parametrize("committed", [True, False], ids=["goes on", "begins"])
async def test_records_that_come_while_the_stream_starts_are_handed_over(
    settings: Settings,
    kafka: Kafka,
    topics: None,  # noqa: ARG001 - they exist first
    producer: Producer,
    monkeypatch: pytest.MonkeyPatch,
    committed: bool,
) -> None:
    """Between its seek and its first record, Faust empties the queues on the way to the agent."""
    first = await _changelog_of_an_earlier_run(settings, kafka, producer, committed=committed)
    for number in range(first, first + _RECORDS):
        await producer.send(kafka.topic("notifications"), str(number).encode(), key=b"k")

    seek = CommittedThread.seek_to_committed

    async def slow_seek(thread: Any) -> Any:
        await asyncio.sleep(_SEEK_S)
        committed = await seek(thread)
        await asyncio.sleep(_SEEK_S)
        return committed

    monkeypatch.setattr(CommittedThread, "seek_to_committed", slow_seek)
    taken = Taken()
    stream = IncidentStream(settings, kafka)
    async with stream.running(taken.handle):
        await eventually(lambda: taken.has(first + _RECORDS - 1), 30, "the last record")

    assert sorted(set(taken.offsets)) == list(range(first, first + _RECORDS))


async def _changelog_of_an_earlier_run(
    settings: Settings, kafka: Kafka, producer: Producer, *, committed: bool
) -> int:
    """Leave an incident to restore; the offset that the next stream begins at."""
    taken = Taken()
    stream = IncidentStream(settings, kafka)
    await ensure_own_topic(kafka, stream.changelog_topic, partitions=1, config={"cleanup.policy": "compact"})
    if committed:
        await producer.send(kafka.topic("notifications"), b"0", key=b"k")
    async with stream.running(taken.handle):
        await eventually(lambda: _active(stream), 30, "the stream")
        if committed:
            await eventually(lambda: taken.has(0), 30, "the first record")
        await stream.incidents.replace(Incident(id="to-be-restored", facts={}))
    return len(taken.offsets)


async def _active(stream: IncidentStream) -> bool:
    return stream.active()
