"""Reports for a backtest, each with when it was read."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.errors import Unreadable
from schemas.registry import AnyEvent
from schemas.reports import ReportEvent
from services.monitor.domain.compound.report_stage import MAX_AHEAD_S, Report


@dataclass(frozen=True, slots=True)
class RecordedReport:
    """``read`` (epoch seconds) is when the live service would have read it: when it was appended."""

    report: Report
    read: float


def report_of(event: AnyEvent) -> Report:
    """The report that an event tells of. Raises Unreadable for an event of another topic."""
    data = event.data
    if not isinstance(data, ReportEvent):
        raise Unreadable("unexpected_type", f"an event of {data.topic} is not expected here")
    return Report(event.id, data.kind, data.component, data.at.timestamp(), data.reported_by, data.reason)


def report_in_time(event: AnyEvent, now: float) -> Report:
    """As ``report_of``, for one that is read at ``now``: one from the future is Unreadable, too."""
    report = report_of(event)
    if report.at > now + MAX_AHEAD_S:
        raise Unreadable(
            "from_the_future",
            f"reported {report.at - now:.0f} s in the future: set the clock of {report.reported_by}, and "
            "send it again",
        )
    return report


def is_event(line: bytes) -> bool:
    """Whether a line that is no sample may be a CloudEvent."""
    return b'"specversion"' in line
