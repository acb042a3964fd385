"""One partition of a foreign topic: once each, whatever is delivered again, in records that fit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from chassis.errors import TemporaryError
from chassis.kafka import MAX_REQUEST_BYTES, TopicPartition
from schemas.metrics import Sample, Unread, read_record
from services.monitor.adapters.ingest_metrics import IngestMetrics
from services.monitor.domain.ingest.translation import Translated
from services.monitor.handlers.origin import MAX_TRANSACTION_BYTES, OriginPartition, Translation, add

PLACE = TopicPartition("otlp_metrics", 3)


@dataclass(frozen=True)
class Fetched:
    offset: int
    value: bytes | None = b""
    topic: str = PLACE.topic
    partition: int = PLACE.partition
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Kept:
    """Keeps what is written to it."""

    def __init__(self, ends_at: int = 100) -> None:
        self.written: list[Translation] = []
        self._ends_at = ends_at

    async def end(self) -> int:
        return self._ends_at

    async def write(self, translation: Translation) -> None:
        self.written.append(translation)

    async def close(self) -> None: ...


class Counting:
    """A sample a record, of how many records were seen; the third cannot be read."""

    look_back = 0

    def resumes_at(self, time: float) -> None: ...

    def __init__(self) -> None:
        self.seen = 0

    def translate(self, value: bytes | None) -> Translated:
        self.seen += 1
        if self.seen == 3:
            return Translated(unread=(Unread("invalid_json", "no"),), passed_over={"not_a_number": 2})
        return Translated((Sample("m", "c", float(self.seen), 1.0),))


def _fetch(offsets: Sequence[int]) -> list[Fetched]:
    return [Fetched(offset) for offset in offsets]


async def test_what_is_delivered_again_is_passed_over() -> None:
    log, registry = Kept(), CollectorRegistry()
    partition = OriginPartition("otlp", PLACE, Counting(), log, IngestMetrics(registry), next_offset=5)
    for offsets in ([4, 5, 6], [5, 6], [6, 7, 9], [9]):
        await partition.take(_fetch(offsets))
    assert [[batch.origin.offset for batch in each.batches] for each in log.written] == [[5, 6], [9]]
    assert [each.next_offset for each in log.written] == [7, 10]
    assert [entry.record.offset for refused, _ in log.written[1].outcomes for entry in refused] == [7]
    exposed = generate_latest(registry).decode()
    assert 'backout_monitor_ingest_records_total{source="otlp"} 4.0' in exposed
    assert 'backout_monitor_ingest_samples_total{source="otlp"} 3.0' in exposed
    assert 'ingest_dead_letters_total{reason="invalid_json",source="otlp"} 1.0' in exposed
    assert 'ingest_passed_over_total{reason="not_a_number",source="otlp"} 2.0' in exposed


async def test_a_topic_that_was_made_anew_under_its_reader_is_told() -> None:
    """Its offsets begin at 0 again; below the next one nothing may be taken for delivered again."""
    log = Kept(ends_at=3)
    meter = IngestMetrics(CollectorRegistry())
    partition = OriginPartition("otlp", PLACE, Counting(), log, meter, next_offset=10)
    with pytest.raises(TemporaryError, match=r"otlp_metrics\[3\] ends at 3 .* 10.*made anew"):
        await partition.take(_fetch([0, 1, 2]))
    assert log.written == []


class Nothing:
    """Reads much, and makes no sample of it."""

    look_back = 0

    def resumes_at(self, time: float) -> None: ...

    def translate(self, value: bytes | None) -> Translated:
        return Translated(passed_over={"not_listed": 1_000})


async def test_others_get_their_turn_while_much_is_read_that_makes_no_sample() -> None:
    partition = OriginPartition(
        "otlp", PLACE, Nothing(), Kept(), IngestMetrics(CollectorRegistry()), next_offset=0
    )
    turns = 0

    async def evaluate() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    evaluating = asyncio.ensure_future(evaluate())
    await partition.take([Fetched(offset, b"x" * 60_000) for offset in range(50)])
    evaluating.cancel()
    assert turns >= 50


class Wide:
    """Three megabytes a record."""

    look_back = 0

    def resumes_at(self, time: float) -> None: ...

    def translate(self, value: bytes | None) -> Translated:
        labels = {"path": "x" * 3_000}
        return Translated(tuple(Sample("m", "c", float(at), 1.0, labels) for at in range(1_000)))


async def test_a_large_fetch_is_more_than_one_transaction() -> None:
    log = Kept()
    meter = IngestMetrics(CollectorRegistry())
    partition = OriginPartition("otlp", PLACE, Wide(), log, meter, next_offset=0)
    await partition.take(_fetch(range(5)))
    assert [each.next_offset for each in log.written] == [2, 4, 5]
    assert max(each.bytes for each in log.written) < 2 * MAX_TRANSACTION_BYTES


def test_a_batch_a_component_in_parts_that_a_request_can_carry() -> None:
    wide = {"path": "x" * 3_000}
    samples = [Sample("m", f"c{number % 2}", float(number), 1.0, wide) for number in range(1_200)]
    translation = Translation(0)
    add(translation, Fetched(8), Translated(tuple(samples)))
    assert translation.next_offset == 9
    assert [batch.part for batch in translation.batches] == list(range(len(translation.batches)))
    assert max(len(batch.value) for batch in translation.batches) < MAX_REQUEST_BYTES
    read = [(batch.component, read_record(batch.value).samples) for batch in translation.batches]
    assert {sample.component for component, found in read for sample in found if component == "c0"} == {"c0"}
    assert sorted(sample.value for _, found in read for sample in found) == list(range(1_200))


def test_a_sample_that_no_request_can_carry_is_refused_and_the_others_are_not() -> None:
    huge = Sample("m", "c", 1.0, 1.0, {"path": "x" * MAX_REQUEST_BYTES})
    translation = Translation(0)
    add(translation, Fetched(0), Translated((Sample("m", "c", 2.0, 1.0), huge)))
    (batch,) = translation.batches
    assert [sample.value for sample in read_record(batch.value).samples] == [2.0]
    ((refused, was_read),) = translation.outcomes
    assert ([entry.unread.reason for entry in refused], was_read) == (["too_large"], True)
    assert translation.samples == 1
