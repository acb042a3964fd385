"""The incident of a report: the trigger that the monitor makes of it opens it, and tells who said what."""

from __future__ import annotations

from datetime import timedelta

from schemas.commands import FULL_SYSTEM
from schemas.registry import AnyEvent, read_event
from services.analyzer.adapters.render import render
from services.analyzer.domain.facts import Place, fact_of, opens
from services.analyzer.domain.report import build_report
from services.monitor.adapters.compound_events import compound_event
from services.monitor.domain.compound.definitions import CompoundRule, Reported
from services.monitor.domain.compound.report_stage import LASTS_S, Report, ReportStage
from tests.unit.analyzer.scenario import Scenario, closing_of, records_of


def _events(scenario: Scenario) -> list[AnyEvent]:
    """All that the monitor tells of one report, from its first to its last."""
    stage = ReportStage([CompoundRule("corrupted", Reported(("data_corruption",)))])
    at = scenario.start.timestamp()
    report = Report("report-1", "data_corruption", "vectors", at, "ops", "17 of 2000 differ")
    outcomes = [*stage.take(report, at), *stage.pass_time(at + LASTS_S)]
    return [
        read_event(compound_event(o, scenario.start + timedelta(seconds=o.at - at)).to_bytes())
        for o in outcomes
    ]


def test_it_opens_an_incident_of_the_whole_system_and_stands_in_its_timeline() -> None:
    scenario = Scenario(component=FULL_SYSTEM)
    events = _events(scenario)
    fact = fact_of(events[0], Place(topic="t", partition=0, offset=0))
    assert fact is not None
    assert (opens(fact), fact.component) == (True, FULL_SYSTEM)
    last = fact_of(events[-1], Place(topic="t", partition=0, offset=9))
    assert getattr(last, "over", False)

    records = records_of(scenario, {"triggers": events})
    closing = closing_of(scenario, records).model_copy(
        update={"incident_id": events[0].correlationid, "triggers": (events[0].correlationid,)}
    )
    report = build_report(closing, records)
    first = next(entry for entry in report.timeline if entry.kind.startswith("triggers."))
    assert first.what == "Trigger corrupted fired: reports 1, data corruption reported"
    assert first.why == "ops reported data corruption of vectors at 14:00:00 UTC: 17 of 2000 differ"
    assert b"17 of 2000 differ" in render(report).markdown
