"""A range of the metrics topic for a backtest, read as the broker keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from chassis.kafka import Kafka, Record, TopicPartition, read_range
from services.monitor.domain.rules import Rule
from services.monitor.handlers.backtest import Backtested, OnUnread, RecordsBacktest


async def topic_ends(kafka: Kafka) -> dict[int, tuple[int, int]]:
    """The first offset and the one after the last, by partition of the metrics topic."""
    topic = kafka.topic("metrics")
    async with kafka.consumer(topic) as consumer:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for(topic)]
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        return {part.partition: (begins[part], ends[part]) for part in partitions}


async def backtest_topic(
    kafka: Kafka,
    rules: Sequence[Rule],
    *,
    allowed_lateness: float,
    on_unread: OnUnread,
    ranges: Mapping[int, tuple[int, int]] | None = None,
    portion: int = 20_000,
    on_record: Callable[[bytes], None] | None = None,
) -> Backtested:
    """Run the rules over ``ranges`` (first offset and the one after the last, by partition; the
    whole topic, unless given), in portions of so many records; ``on_record`` is shown each."""
    topic = kafka.topic("metrics")
    found: list[Backtested] = []
    for number, (begin, end) in sorted((ranges or await topic_ends(kafka)).items()):
        backtest = RecordsBacktest(
            rules, allowed_lateness=allowed_lateness, partition=number, on_unread=on_unread
        )
        records: list[Record] = []

        def each(
            record: Record, records: list[Record] = records, backtest: RecordsBacktest = backtest
        ) -> None:
            records.append(record)
            if on_record is not None and record.value is not None:
                on_record(record.value)
            if len(records) >= portion:
                backtest.take(records)
                records.clear()

        await read_range(kafka, TopicPartition(topic, number), begin, end - 1, each=each)
        backtest.take(records)
        found.append(backtest.found())
    outcomes = [outcome for part in found for outcome in part.outcomes]
    outcomes.sort(key=lambda outcome: (outcome.at, outcome.rule.name, outcome.component))
    return Backtested(outcomes, sum(part.samples for part in found), sum(part.late for part in found))
