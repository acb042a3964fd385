"""Runs tests of triggers: their samples, as JSON lines, go the way of every backtest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import msgspec

from schemas.commands import FULL_SYSTEM
from schemas.metrics import Release, ReleaseRecord, Unread, epoch_seconds
from services.monitor.domain.compound.definitions import CompoundRule, Reported
from services.monitor.domain.compound.members import Member
from services.monitor.domain.compound.outcomes import CompoundOutcome
from services.monitor.domain.compound.report_stage import Report
from services.monitor.domain.compound.standing import components_at
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.explaining.check_values import values_at
from services.monitor.domain.explaining.recorded import Recorded, run
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.trials.judging import Failure, Subject, judge
from services.monitor.domain.trials.trigger_tests import (
    START,
    Change,
    ExpectedPhase,
    InputSeries,
    TriggerTest,
)
from services.monitor.handlers.backtest import backtest_lines
from services.monitor.handlers.compound_backtest import (
    backtest_compounds,
    member_events,
    reports_at,
)
from services.monitor.handlers.recorded_lines import recorded_lines
from services.monitor.handlers.recorded_reports import RecordedReport


@dataclass(frozen=True, slots=True)
class Judged:
    """A test, and everything that was not as expected."""

    test: TriggerTest
    failures: list[Failure]

    @property
    def passed(self) -> bool:
        return not self.failures


def run_test(test: TriggerTest, rules: Sequence[Rule], compounds: Sequence[CompoundRule] = ()) -> Judged:
    """Run the engine, and the second stage, over the test's samples, releases and reports; each second is
    evaluated as soon as it has passed."""
    until = START + test.until
    found = backtest_lines(rules, _lines(test), allowed_lateness=0.0, until=float(until), on_unread=_unread)
    transitions = list(found.transitions())
    reports = sorted(_reports(test), key=lambda report: report.at)
    found.reports[:] = [RecordedReport(report, report.at) for report in reports]
    told = backtest_compounds(compounds, found, until=float(until))
    changes = [*map(_change, transitions), *map(_compound_change, told)]
    changes.sort(key=lambda change: change.at)
    subjects = {rule.name: _subject(rule) for rule in rules}
    subjects |= {rule.name: _compound_subject(rule) for rule in compounds}
    values = _Values(test, rules, compounds, transitions, reports)
    return Judged(test, judge(test, subjects, changes, values.at))


class _Values:
    """The values of triggers at the seconds of expectations: those that the engine compares."""

    def __init__(
        self,
        test: TriggerTest,
        rules: Sequence[Rule],
        compounds: Sequence[CompoundRule],
        transitions: Sequence[Outcome],
        reports: Sequence[Report],
    ) -> None:
        self._test = test
        self._rules = {rule.name: rule for rule in rules}
        self._compounds = {rule.name: rule for rule in compounds}
        self._members = _members(transitions)
        self._reports = reports
        self._recorded: dict[tuple[str, Group], Recorded] = {}

    def at(self, expected: ExpectedPhase) -> tuple[float | None, ...]:
        second = START + expected.at
        compound = self._compounds.get(expected.trigger)
        if compound is not None:
            return (float(self._count(compound, second)),)
        rule = self._rules[expected.trigger]
        recorded = self._recorded_of(rule, expected.of).through(second)
        figures = run(rule, recorded).figures if rule.has_baseline else ()
        return values_at(rule, recorded, second, figures=figures)

    def _count(self, rule: CompoundRule, second: int) -> int:
        condition = rule.condition
        if isinstance(condition, Reported):
            return reports_at(rule, self._reports, second)
        return components_at(condition, self._members, second)

    def _recorded_of(self, rule: Rule, of: Group) -> Recorded:
        known = self._recorded.get((rule.name, of))
        if known is None:
            known = self._recorded[rule.name, of] = recorded_lines(
                _lines(self._test),
                rule,
                of.component,
                lambda group: group == of,
                nobody=of,
                lateness=0.0,
                until=float(START + self._test.until),
            )
        return known


def _members(transitions: Sequence[Outcome]) -> list[Member]:
    members: dict[str, Member] = {}
    for event in member_events(transitions):
        known = members.get(event.trigger_id)
        members[event.trigger_id] = Member.of(event) if known is None else known.after(event)
    return list(members.values())


def _change(outcome: Outcome) -> Change:
    return Change(
        at=outcome.at - START,
        trigger=outcome.rule.name,
        of=outcome.of,
        before=outcome.before,
        after=outcome.after,
        reason=outcome.reason,
        why=outcome.why,
        began=outcome.began - START,
    )


def _compound_change(outcome: CompoundOutcome) -> Change:
    before, after = outcome.phases
    return Change(
        at=outcome.at - START,
        trigger=outcome.rule.name,
        of=Group(FULL_SYSTEM),
        before=before,
        after=after,
        reason=outcome.reason,
        why=outcome.why,
        began=outcome.episode.began - START,
    )


def _subject(rule: Rule) -> Subject:
    terms = rule.terms
    lasting = format_duration(terms.lasting)
    if terms.quorum is not None:
        lasting = f"{{breaching: {format_duration(terms.quorum)}, of: {lasting}}}"
    needs = f"`for` is {lasting}, `min_samples` {terms.min_samples}"
    return Subject(rule.measures, rule.threshold_in_words, needs)


def _compound_subject(rule: CompoundRule) -> Subject:
    return Subject((rule.metric,), rule.condition.words(), "")


def _reports(test: TriggerTest) -> list[Report]:
    return [
        Report(
            id=f"report-{number}",
            kind=each.kind,
            component=each.component,
            at=float(START + each.at),
            reported_by=each.reported_by,
            reason=each.reason,
        )
        for number, each in enumerate(test.reports, start=1)
    ]


def _lines(test: TriggerTest) -> Iterator[bytes]:
    """A record for each second and component: what is of one second is seen at once."""
    releases = [
        Release(each.component, float(START + each.at), each.version)
        for each in sorted(test.releases, key=lambda each: each.at)
    ]
    for time, of_second in groupby(test.samples(), key=lambda entry: entry[0]):
        while releases and epoch_seconds(releases[0].time) <= time:
            yield msgspec.json.encode(ReleaseRecord(releases.pop(0)))
        by_component: dict[str, list[dict[str, Any]]] = {}
        for _, series, value in of_second:
            by_component.setdefault(series.component, []).append(_sample(series, value, time))
        for samples in by_component.values():
            yield msgspec.json.encode({"samples": samples})
    for release in releases:
        yield msgspec.json.encode(ReleaseRecord(release))


def _sample(series: InputSeries, value: float, time: int) -> dict[str, Any]:
    sample = {"metric": series.metric, "component": series.component, "value": value, "time": float(time)}
    return sample if series.labels is None else sample | {"labels": series.labels}


def _unread(line: int | str, unread: Unread) -> None:
    raise ValueError(f"record {line} of the test: {unread.reason}: {unread.error}")
