"""From the events of the other services to a closed incident with its report."""

from __future__ import annotations

from pathlib import Path

from chassis.settings import Settings
from tests.integration.analyzer.stage import Analyzers, Topics, read_report, reported, scenario_of_now, until


async def test_an_incident_is_opened_closed_and_reported(
    analyzers: Analyzers, log: Topics, settings: Settings
) -> None:
    scenario = scenario_of_now()
    await log.write_samples(scenario)
    await log.write_value("logs", scenario.log_line(-2, "mode is now enhanced", "INFO", mode="enhanced"))
    process = analyzers.start()
    await log.write(scenario.rolled_back())

    row = (await until(settings, reported(scenario.id)))[scenario.id]

    assert (row["status"], row["outcome"], row["reason"]) == ("closed", "Success", "settled")
    assert row["executions"] == ["exec-1"]
    kinds = [(event.kind, event.incident_id) for event in await log.incidents()]
    assert kinds == [("opened", scenario.id), ("closed", scenario.id)]
    report = read_report(row)
    assert [stage["key"] for stage in report["stages"]][:3] == ["began", "fired", "started"]
    assert report["metrics"][0]["metric"] == "response_time_p95_ms"
    assert report["metrics"][0]["during"]["samples"] > 70
    assert len(report["timeline"]) == 18 + 1
    assert report["findings"][0]["body"] == "mode is now enhanced"
    assert (Path(row["report_dir"]) / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    analyzers.stop(process)
