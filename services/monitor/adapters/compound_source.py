"""What a compound trigger's explanation is made from: the announcements, or the reports, on their topic."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chassis.consume import received
from chassis.errors import Unreadable
from chassis.kafka import Kafka, Record, TopicPartition, read_range
from schemas.reports import ReportEvent
from schemas.topics import TopicId
from schemas.triggers import TriggerEvent
from services.monitor.domain.compound.definitions import CompoundRule, Reported
from services.monitor.domain.compound.heard import Arrival, Heard
from services.monitor.domain.compound.member_stage import HEARD_WITHIN_S
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.handlers.compound_backtest import member_events
from services.monitor.handlers.compound_stages import member_event
from services.monitor.handlers.recorded_reports import RecordedReport, report_in_time

_LONG_S = 600.0
_A_DAY, _AN_HOUR = 86_400, 3_600
_A_SECOND_WHOLE = 1
"""In recorded samples a second is decided once a later one is shown."""


@dataclass(frozen=True, slots=True)
class CompoundSource:
    """What was told, where it is from, the trigger's own events (by their id), and what is missing."""

    heard: Heard
    place: str
    own: tuple[TriggerEvent, ...] = ()
    missing: tuple[str, ...] = ()


async def heard_on_topic(
    kafka: Kafka, rule: CompoundRule, *, lateness: float, first: int, last: int | None, now: float
) -> CompoundSource:
    """What the second stage was told that matters from second ``first`` on; decided until ``last``, or
    else as far as the topic goes (reports: until ``now``), in epoch seconds."""
    of_reports = isinstance(rule.condition, Reported)
    arrivals: list[Arrival] = []
    own: list[TriggerEvent] = []

    def each(record: Record) -> None:
        # What cannot be read is a dead letter, and was told to nobody.
        with contextlib.suppress(Unreadable):
            event = received(record).event
            append = record.timestamp / 1000
            if isinstance(event.data, ReportEvent):
                arrivals.append(Arrival(append, report_in_time(event, append)))
            elif isinstance(event.data, TriggerEvent):
                if event.data.members and event.data.trigger == rule.name:
                    own.append(event.data)
                if not event.data.members and not of_reports:
                    arrivals.append(Arrival(append, member_event(event.data)))

    begin = await _read(kafka, "triggers", each)
    place = kafka.topic("triggers")
    if of_reports:
        place = kafka.topic("reports")
        begin = await _read(kafka, "reports", each)
    missing: tuple[str, ...] = ()
    if begin > 0:
        missing = (
            f"retention has deleted {place}[0] up to offset {begin - 1}: what was told there is unknown",
        )
    newest = int(now) if of_reports else max((int(arrival.what.at) for arrival in arrivals), default=int(now))
    through = newest if last is None else last
    heard = Heard(tuple(arrivals), through, lateness, HEARD_WITHIN_S)
    heard = heard.between(_since(rule, own, first), through + _AN_HOUR)
    return CompoundSource(heard, f"{place}[0]", tuple(own), missing)


def _since(rule: CompoundRule, own: Iterable[TriggerEvent], first: int) -> int:
    """From which second on members matter: a day and a window before the question, or before the
    firing that it falls into began. A member that fires is announced each minute, so that no longer
    one is forgotten."""
    began: dict[str, int] = {}
    for event in own:
        if event.at.timestamp() > first:
            continue
        if event.kind in ("resolved", "superseded"):
            began.pop(event.trigger_id, None)
        else:
            began[event.trigger_id] = int(event.began.timestamp())
    window = 0 if isinstance(rule.condition, Reported) else rule.condition.window
    return min([first, *began.values()]) - window - _A_DAY


def heard_in_backtest(transitions: Iterable[Outcome], through: int) -> Heard:
    """What the second stage of a backtest is told."""
    arrivals = tuple(Arrival(float(event.at), event) for event in member_events(transitions))
    return Heard(arrivals, through, _A_SECOND_WHOLE, None)


def reports_in_backtest(reports: Iterable[RecordedReport], through: int) -> Heard:
    """The same of reports, each read when it was appended."""
    arrivals = tuple(Arrival(each.read, each.report) for each in reports)
    return Heard(arrivals, through, _A_SECOND_WHOLE, None)


async def _read(kafka: Kafka, topic: TopicId, each: Callable[[Record], None]) -> int:
    """Read a topic of one partition as far as it goes; its first offset."""
    place = TopicPartition(kafka.topic(topic), 0)
    async with kafka.reader(place) as reader:
        begin = (await reader.beginning_offsets([place]))[place]
        end = (await reader.end_offsets([place]))[place]
    await read_range(kafka, place, begin, end - 1, each=each, timeout_s=_LONG_S)
    return begin
