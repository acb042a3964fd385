"""Reports of a file of JSON lines, each an event as on the topic, or of a range of the topic itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chassis.consume import event_of
from chassis.errors import Unreadable
from chassis.kafka import Kafka, Record, TopicPartition, read_range
from schemas.metrics import Unread
from services.monitor.adapters.topic_range import range_between
from services.monitor.adapters.whole_files import all_of, numbered_lines
from services.monitor.handlers.backtest import OnUnread
from services.monitor.handlers.recorded_reports import RecordedReport, report_in_time, report_of

_MEND = "Write an event as on backout.reports.v1; docs/triggers.md has an example"


def reports_of_lines(path: Path) -> list[RecordedReport]:
    """The reports of the file, in order of time. Raises UsageError where it cannot be read, ConfigErrors
    with the lines that are no reports."""
    return sorted(all_of(path, _of_lines(path), _MEND), key=lambda each: each.read)


def _of_lines(path: Path) -> Iterator[tuple[int, RecordedReport | Unread]]:
    for number, line in numbered_lines(path):
        try:
            report = report_of(event_of(line))
        except Unreadable as error:
            yield number, Unread(error.reason, str(error))
        else:
            yield number, RecordedReport(report, report.at)


async def reports_of_topic(
    kafka: Kafka, *, since: float | None, until: float | None, on_unread: OnUnread
) -> list[RecordedReport]:
    """The reports that were appended from ``since`` on and before ``until`` (epoch seconds), in the order
    of the topic. What the live service would set aside is told with its offset and passed over."""
    found: list[RecordedReport] = []

    def take(record: Record) -> None:
        read = record.timestamp / 1_000
        try:
            found.append(RecordedReport(report_in_time(event_of(record.value), read), read))
        except Unreadable as error:
            on_unread(record.offset, Unread(error.reason, str(error)))

    place = TopicPartition(kafka.topic("reports"), 0)
    between = await range_between(kafka, "reports", since=since, until=until)
    # A cluster of an earlier version has no such topic, and so no reports.
    begin, end = between.get(place.partition, (0, 0))
    await read_range(kafka, place, begin, end - 1, each=take)
    return found
