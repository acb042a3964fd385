"""The second stage in a backtest: compound triggers over the transitions that the first stage made, and
over reports.

All transitions are known and in order, so nothing is late and silence means nothing. Each report is
read when it was appended. The same state machines decide as in the live service, and so the ids and the
seconds are the live ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.monitor.domain.compound.definitions import CompoundRule, of_members, of_reports
from services.monitor.domain.compound.member_stage import MemberStage
from services.monitor.domain.compound.members import MemberEvent
from services.monitor.domain.compound.outcomes import CompoundOutcome
from services.monitor.domain.compound.report_stage import Report, ReportStage
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.handlers.backtest import Backtested

_A_SECOND_WHOLE = 1
"""A second is decided once a later one is shown: by then all of its transitions are known."""


def backtest_compounds(
    rules: Sequence[CompoundRule], found: Backtested, *, until: float | None = None
) -> list[CompoundOutcome]:
    """The changes of phase of the compound triggers, in order of time. ``until`` (epoch seconds) is how
    long time passes for reports; otherwise to the last second evaluated, or the last report."""
    outcomes = [*_of_members(rules, found), *_of_reports(rules, found, until)]
    return sorted(outcomes, key=lambda outcome: outcome.at)


def _of_reports(
    rules: Sequence[CompoundRule], found: Backtested, until: float | None
) -> list[CompoundOutcome]:
    stage = ReportStage(of_reports(rules))
    outcomes: list[CompoundOutcome] = []
    now = 0.0
    for each in found.reports:
        now = max(now, each.read)
        outcomes += stage.take(each.report, now)
    outcomes += stage.pass_time(
        max(now, max(found.through.values(), default=0.0) if until is None else until)
    )
    return [outcome for outcome in outcomes if outcome.is_transition]


def _of_members(rules: Sequence[CompoundRule], found: Backtested) -> list[CompoundOutcome]:
    deciding = of_members(rules)
    if not deciding or not found.through:
        return []
    stage = MemberStage(deciding, lateness=_A_SECOND_WHOLE, heard_within=None)
    outcomes: list[CompoundOutcome] = []
    for event in member_events(found.transitions()):
        outcomes += stage.take(event, float(event.at))
    outcomes += stage.advance(max(found.through.values()))
    return [outcome for outcome in outcomes if outcome.is_transition]


def reports_at(rule: CompoundRule, reports: Iterable[Report], second: int) -> int:
    """How many reports the trigger answers to at ``second``."""
    stage = ReportStage([rule])
    for report in sorted(reports, key=lambda each: each.at):
        if report.at <= second:
            stage.take(report, report.at)
    stage.pass_time(float(second))
    running = stage.episodes.get(rule.name)
    return 0 if running is None else running.count


def member_events(outcomes: Iterable[Outcome]) -> list[MemberEvent]:
    """What the live service would announce of changes of phase."""
    return [event for outcome in outcomes if (event := _member_event(outcome)) is not None]


def _member_event(outcome: Outcome) -> MemberEvent | None:
    """What the live service would announce of a change of phase; None where that is nothing."""
    if "firing" not in (outcome.before, outcome.after):
        return None
    return MemberEvent(
        trigger_id=outcome.trigger_id,
        trigger=outcome.rule.name,
        component=outcome.component,
        severity=outcome.rule.severity,
        kind="fired" if outcome.after == "firing" else "resolved",
        at=outcome.at,
        began=outcome.began,
    )
