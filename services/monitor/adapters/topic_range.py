"""A range of the metrics topic for a backtest, read as the broker keeps it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from chassis.errors import UsageError
from chassis.kafka import Kafka, Record, TopicPartition, read_range
from schemas.metrics import Unread
from schemas.topics import TopicId
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.prediction.predictions import Predictions
from services.monitor.handlers.backtest import Backtested, OnProgress, OnUnread, RecordsBacktest, joined
from services.monitor.handlers.prediction_backtest import PredictionBacktest

_LONG_S = 3_600.0
"""A month of records takes a while; a partition that gives nothing any more is noticed all the same."""


async def topic_ends(kafka: Kafka, of: TopicId = "metrics") -> dict[int, tuple[int, int]]:
    """The first offset and the one after the last, by partition of the topic."""
    topic = kafka.topic(of)
    async with kafka.consumer(topic) as consumer:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for(topic)]
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        return {part.partition: (begins[part], ends[part]) for part in partitions}


async def topic_ranges(
    kafka: Kafka,
    *,
    since: float | None = None,
    until: float | None = None,
    from_offsets: Mapping[int | None, int] | None = None,
) -> dict[int, tuple[int, int]]:
    """The part of the metrics topic, by partition (first offset and the one after the last), that
    was appended from ``since`` on and before ``until`` (epoch seconds), or begins at the given
    offset (key None: on every partition). Raises UsageError for an unknown partition."""
    if not from_offsets:
        return await range_between(kafka, "metrics", since=since, until=until)
    ends = await topic_ends(kafka)
    wanted = from_offsets
    unknown = sorted(number for number in wanted if number is not None and number not in ends)
    if unknown:
        raise UsageError(f"there is no partition {unknown[0]} of {kafka.topic('metrics')}")
    begins = {
        number: max(begin, wanted.get(number, wanted.get(None, 0))) for number, (begin, _) in ends.items()
    }
    between = await range_between(kafka, "metrics", since=since, until=until)
    return {
        number: (min(max(first, begins[number]), last), last) for number, (first, last) in between.items()
    }


async def range_between(
    kafka: Kafka, of: TopicId, *, since: float | None, until: float | None
) -> dict[int, tuple[int, int]]:
    """The part of a topic, by partition, that was appended from ``since`` on and before ``until``."""
    ends = await topic_ends(kafka, of)
    begins = {number: begin for number, (begin, _) in ends.items()}
    lasts = {number: end for number, (_, end) in ends.items()}
    if since is not None:
        begins = await _offsets_at(kafka, of, since, lasts)
    if until is not None:
        lasts = await _offsets_at(kafka, of, until, lasts)
    return {number: (min(begins[number], lasts[number]), lasts[number]) for number in ends}


async def appended_first(kafka: Kafka, ranges: Mapping[int, tuple[int, int]]) -> float | None:
    """When (epoch seconds) the first record of these ranges of the metrics topic was appended; None where
    one of them begins with the topic, or all are empty."""
    ends = await topic_ends(kafka)
    if any(begin <= ends[number][0] for number, (begin, _) in ranges.items()):
        return None
    found: list[Record] = []
    for number, (begin, end) in ranges.items():
        if begin < end:
            place = TopicPartition(kafka.topic("metrics"), number)
            # More than one, as an offset may hold a transaction's marker.
            await read_range(kafka, place, begin, min(begin + 9, end - 1), each=found.append)
    return min((record.timestamp / 1_000 for record in found), default=None)


async def _offsets_at(kafka: Kafka, of: TopicId, time: float, ends: Mapping[int, int]) -> dict[int, int]:
    """The first offset appended at or after ``time``, by partition; the end where there is none."""
    topic = kafka.topic(of)
    async with kafka.consumer(topic) as consumer:
        asked = {TopicPartition(topic, number): math.ceil(time * 1000) for number in ends}
        found = await consumer.offsets_for_times(asked)
    at = {place.partition: offset for place, offset in found.items()}
    return {number: end if (offset := at.get(number)) is None else offset for number, end in ends.items()}


async def backtest_topic(
    kafka: Kafka,
    rules: Sequence[Rule],
    *,
    allowed_lateness: float,
    on_unread: OnUnread,
    ranges: Mapping[int, tuple[int, int]] | None = None,
    portion: int = 20_000,
    on_progress: OnProgress | None = None,
    predicted: PredictionBacktest | None = None,
) -> Backtested:
    """Run the rules over ``ranges`` (first offset and the one after the last, by partition; the
    whole topic, unless given), in portions of so many records; ``predicted`` collects predictions.
    ``on_unread`` is told ``PARTITION:OFFSET``."""
    topic = kafka.topic("metrics")
    found: list[Backtested] = []
    for number, (begin, end) in sorted((ranges or await topic_ends(kafka)).items()):
        predictions = None if predicted is None else predicted.partition(allowed_lateness, begin)
        backtest = RecordsBacktest(
            rules,
            allowed_lateness=allowed_lateness,
            partition=number,
            on_unread=partial(_tell_of_unread, on_unread, number),
            predictions=predictions,
        )
        records: list[Record] = []

        def fold(
            records: list[Record] = records,
            backtest: RecordsBacktest = backtest,
            predictions: Predictions | None = predictions,
        ) -> None:
            backtest.take(records)
            if predicted is not None and predictions is not None:
                predicted.collect(predictions)
            if on_progress is not None:
                on_progress(len(records))
            records.clear()

        def each(record: Record, records: list[Record] = records, fold: Callable[[], None] = fold) -> None:
            records.append(record)
            if len(records) >= portion:
                fold()

        place = TopicPartition(topic, number)
        await read_range(kafka, place, begin, end - 1, each=each, timeout_s=_LONG_S)
        fold()
        found.append(backtest.found())
    return joined(found)


def _tell_of_unread(told: OnUnread, partition: int, offset: int | str, unread: Unread) -> None:
    told(f"{partition}:{offset}", unread)
