"""From the events of the other services to a closed incident with its report."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chassis.kafka import Kafka
from chassis.settings import Settings
from tests import polling
from tests.integration.analyzer.stage import (
    Analyzers,
    Topics,
    drop_connections,
    read_report,
    reported,
    rows,
    scenario_of_now,
    until,
    until_forgotten,
    until_read,
    until_told,
)
from tests.integration.conftest import Backout
from tests.unit.analyzer.scenario import Scenario

FUTURE = b'{"specversion": "1.0", "type": "io.backout.rollbacks.started.v9"}'


async def test_an_incident_is_opened_closed_reported_and_replayed(
    analyzers: Analyzers, log: Topics, settings: Settings, backout: Backout
) -> None:
    scenario = scenario_of_now()
    await log.write_samples(scenario)
    await log.write_value("logs", scenario.log_line(-2, "mode is now enhanced", "INFO", mode="enhanced"))
    process = analyzers.start()
    await log.write(scenario.rolled_back())

    row = (await until(settings, reported(scenario.id)))[scenario.id]

    assert (row["status"], row["outcome"], row["reason"]) == ("closed", "Success", "settled")
    assert row["executions"] == ["exec-1"]
    await until_told(settings)
    kinds = [(event.kind, event.incident_id) for event in await log.incidents()]
    assert kinds == [("opened", scenario.id), ("closed", scenario.id)]
    report = read_report(row)
    assert [stage["key"] for stage in report["stages"]][:3] == ["began", "fired", "started"]
    assert report["metrics"][0]["metric"] == "response_time_p95_ms"
    assert report["metrics"][0]["during"]["samples"] > 70
    assert len(report["timeline"]) == 18 + 1
    assert report["findings"][0]["body"] == "mode is now enhanced"

    for source in ("log", "archive"):
        replayed = backout("incidents", "replay", scenario.id, "--from", source, "-o", "json")
        assert replayed.status == 0, replayed.err
        answer = json.loads(replayed.out)
        assert answer["sha256"] == answer["stored_sha256"] == row["report_sha256"]
        assert answer["files"] == {"report.json": True, "report.md": True, "report.html": True}
    page = Path(row["report_dir"]) / "report.html"
    page.write_bytes(page.read_bytes() + b" ")
    altered = backout("incidents", "replay", scenario.id)
    assert altered.status == 1
    assert "is not the stored one" in altered.err
    analyzers.stop(process)


async def test_the_command_line_finds_incidents(
    analyzers: Analyzers, log: Topics, settings: Settings, backout: Backout
) -> None:
    nothing_yet = backout("incidents", "list", "-o", "json")
    assert (nothing_yet.status, json.loads(nothing_yet.out)) == (0, [])
    scenario = scenario_of_now()
    analyzers.start()
    await log.write(scenario.rolled_back())
    await until(settings, reported(scenario.id))

    (listed,) = json.loads(backout("incidents", "list", "-o", "json").out)
    assert listed["incident_id"] == scenario.id
    assert json.loads(backout("incidents", "list", "--open", "-o", "json").out) == []
    shown = json.loads(backout("incidents", "show", "response_time", "-o", "json").out)
    assert (shown["incident_id"], shown["addenda"]) == (scenario.id, [])
    path = backout("incidents", "report", scenario.id).out.strip()
    assert path.endswith("/report.html")
    page = backout("incidents", "report", scenario.id, "--stdout").out
    assert page.startswith("<!doctype html>")
    markdown = backout("incidents", "report", scenario.id, "--format", "md", "--stdout").out
    assert markdown.startswith("# Incident of pdf_extraction: Rolled back\n")
    unknown = backout("incidents", "show", "nothing-like-it")
    assert (unknown.status, unknown.out) == (2, "")
    assert "there is no incident 'nothing-like-it'" in unknown.err
    assert backout("incidents", "close", scenario.id, "--reason", "again").status == 2


async def test_a_failed_rollback_waits_for_a_person(
    analyzers: Analyzers, log: Topics, settings: Settings, backout: Backout
) -> None:
    scenario = scenario_of_now()
    analyzers.start()
    await log.write(scenario.rolled_back("Failed"))

    waiting = await until(
        settings, lambda found: any(row["reason"] == "needs_person" for row in found.values())
    )
    assert "backout incidents close" in waiting[scenario.id]["why"]
    assert waiting[scenario.id]["outcome"] == "Failed"
    closed = backout("incidents", "close", scenario.id, "--reason", "restored by hand")
    assert closed.status == 0, closed.err
    row = (await until(settings, reported(scenario.id)))[scenario.id]
    assert (row["reason"], row["outcome"]) == ("closed_by_person", "Failed")
    (request,) = read_report(row)["requests"]
    assert request["reason"] == "restored by hand"


async def test_unreadable_events_go_aside_and_late_ones_are_addenda(
    analyzers: Analyzers, log: Topics, settings: Settings
) -> None:
    scenario = scenario_of_now()
    analyzers.start()
    events = scenario.rolled_back()
    for value in (b"{not json", None, b"", b"\xff\xfe", FUTURE):
        await log.write_value("rollbacks", value)
    await log.write(events)
    closed = (await until(settings, reported(scenario.id)))[scenario.id]

    letters = await log.dead_letters()
    assert [letter.reason for letter in letters] == [
        "invalid_json",
        "empty",
        "empty",
        "invalid_json",
        "unknown_version",
    ]
    assert [letter.offset for letter in letters] == [0, 1, 2, 3, 4]
    late = scenario.told("email_to_enterprise_customers", "rollback_completed", 99)
    await log.write({"notifications": [late], "rollbacks": events["rollbacks"][:1]})
    await until(settings, lambda found: found[scenario.id]["addenda"] == 1)
    assert [row["event_id"] for row in await rows(settings, "incident_addenda")] == [late.id]
    await until_told(settings)
    last = (await log.incidents())[-1]
    assert (last.kind, last.added_event_id) == ("added", late.id)
    after = (await until(settings, reported(scenario.id)))[scenario.id]
    assert after["report_sha256"] == closed["report_sha256"]


async def test_an_absorbed_trigger_is_merged(analyzers: Analyzers, log: Topics, settings: Settings) -> None:
    first = scenario_of_now()
    second = scenario_of_now(trigger="error_rate")
    events = first.rolled_back()
    analyzers.start()
    await log.write({"triggers": [second.triggered("fired", 11)]})
    await until(settings, lambda found: second.trigger_id in found)
    absorbed = second.journal(
        "absorbed",
        12,
        correlation=first.id,
        requested_by=second.trigger_id,
        execution_id="request-2",
        cause=second.triggered("fired", 11).id,
    )
    events["rollbacks"].insert(3, absorbed)
    events["triggers"].append(second.triggered("resolved", 85))
    await log.write(events)

    found = await until(settings, reported(first.id))
    merged = found[second.trigger_id]
    assert (merged["status"], merged["merged_into"]) == ("merged", first.id)
    triggers = read_report(found[first.id])["triggers"]
    assert {one["trigger_id"]: one["absorbed"] for one in triggers} == {
        first.id: False,
        second.trigger_id: True,
    }
    await until_told(settings)
    kinds = [(event.kind, event.incident_id) for event in await log.incidents()]
    assert kinds == [
        ("opened", second.trigger_id),
        ("opened", first.id),
        ("merged", second.trigger_id),
        ("closed", first.id),
    ]


async def test_echoes_are_forgotten_and_keep_no_incident_from_closing(
    analyzers: Analyzers, log: Topics, settings: Settings, kafka: Kafka
) -> None:
    """A pause that was refused, what was told of it, and a delivery whose rollback was not read yet."""
    scenario, system = scenario_of_now(), scenario_of_now(component="full_system")
    pause = {"correlation": "pause-1", "requested_by": "pause-1", "execution_id": "pause-1"}
    events = scenario.rolled_back()
    analyzers.start()
    await log.write(
        {
            "rollbacks": [system.journal("refused", 5, **pause), system.journal("paused", 6, **pause)],
            "commands": [system.close_command(7, "unknown-1")],
            "notifications": [system.told("engineering_team", "rollbacks_paused", 8)],
        }
    )
    await log.write({"notifications": events["notifications"][:1]})
    await until_forgotten(settings, kafka.topic("notifications"), 2)
    assert await log.incidents() == []

    await log.write(events)
    row = (await until(settings, reported(scenario.id)))[scenario.id]
    assert (row["reason"], row["addenda"]) == ("settled", 0)
    assert [event.kind for event in await log.incidents()] == ["opened", "closed"]


async def test_what_the_stream_passed_over_is_found_though_nothing_comes_after_it(
    analyzers: Analyzers, log: Topics, settings: Settings, kafka: Kafka
) -> None:
    scenario = scenario_of_now()
    await log.write(scenario.rolled_back())
    await log.pass_over(kafka.group("analyzer"))
    process = analyzers.start()

    row = (await until(settings, reported(scenario.id), 60))[scenario.id]
    assert (row["status"], row["reason"], row["addenda"]) == ("closed", "settled", 0)
    assert len(read_report(row)["timeline"]) == 18
    assert [event.kind for event in await log.incidents()] == ["opened", "closed"]
    assert "the stream passed a record over" in analyzers.log(0).read_text(encoding="utf-8")
    analyzers.stop(process)


async def test_the_metrics_of_an_incident_left_open_for_days_are_bounded(
    analyzers: Analyzers, log: Topics, settings: Settings, backout: Backout
) -> None:
    scenario = Scenario(start=datetime.now(UTC).replace(microsecond=0) - timedelta(hours=30))
    await log.write_samples(scenario)
    process = analyzers.start()
    await log.write(scenario.rolled_back())

    report = read_report((await until(settings, reported(scenario.id)))[scenario.id])
    assert report["metrics"] == []
    assert len(report["timeline"]) == 18
    (note,) = report["notes"]
    assert "for the first 24 h 00 min only" in note
    assert backout("incidents", "replay", scenario.id, "--from", "log").status == 0
    analyzers.stop(process)


async def test_kills_at_every_moment_lose_and_repeat_nothing(
    analyzers: Analyzers, log: Topics, settings: Settings, backout: Backout
) -> None:
    """One incident, and a kill -9 at each instant between two writes of it."""
    scenario = scenario_of_now()
    await log.write_samples(scenario)
    await log.write(scenario.rolled_back())
    for failpoint in (
        "analyzer.after-table=kill@3",
        "analyzer.after-store=kill@5",
        "analyzer.after-removal=kill",
        "analyzer.after-archive=kill",
        "analyzer.after-report=kill",
    ):
        analyzers.killed(analyzers.start(ready=False, BACKOUT_FAILPOINTS=failpoint))
    analyzers.start()

    row = (await until(settings, reported(scenario.id)))[scenario.id]
    assert (row["status"], row["outcome"], row["addenda"]) == ("closed", "Success", 0)
    await until_told(settings)
    kinds = [event.kind for event in await log.incidents()]
    assert sorted(set(kinds)) == ["closed", "opened"]
    report = read_report(row)
    assert len(report["timeline"]) == 18
    assert len(report["deliveries"]) == 4
    assert [step["status"] for step in report["executions"][0]["steps"]] == ["done"] * 4
    assert backout("incidents", "replay", scenario.id).status == 0


async def test_another_analyzer_takes_over(analyzers: Analyzers, log: Topics, settings: Settings) -> None:
    scenario = scenario_of_now()
    events = scenario.rolled_back()
    first = analyzers.start(BACKOUT_INSTANCE="one")
    analyzers.start(ready=False, BACKOUT_INSTANCE="two")
    await log.write({"triggers": events["triggers"][:1], "rollbacks": events["rollbacks"][:3]})
    await until(settings, lambda found: found.get(scenario.id, {}).get("executions") == ["exec-1"])
    first.kill()
    await log.write({"triggers": events["triggers"][1:], "rollbacks": events["rollbacks"][3:]})
    await log.write({"notifications": events["notifications"]})

    row = (await until(settings, reported(scenario.id), 60))[scenario.id]
    assert (row["status"], row["reason"], row["addenda"]) == ("closed", "settled", 0)
    assert len(read_report(row)["timeline"]) == 18
    await until_told(settings)
    assert sorted(event.kind for event in await log.incidents()) == ["closed", "opened"]


async def test_what_a_frozen_analyzer_writes_when_it_thaws_is_not_believed(
    analyzers: Analyzers, log: Topics, settings: Settings
) -> None:
    """It overwrites its successor's incident in the table's changelog and in the store with an older one."""
    scenario = scenario_of_now()
    events = scenario.rolled_back()
    patient = {"BACKOUT_ANALYZER__CLOSE_AFTER_S": "600"}
    freeze = "analyzer.before-table=freeze@2"
    first = analyzers.start(BACKOUT_INSTANCE="one", BACKOUT_FAILPOINTS=freeze, **patient)
    await log.write({"triggers": events["triggers"][:1], "rollbacks": events["rollbacks"][:3]})
    analyzers.frozen(first)
    second = analyzers.start(BACKOUT_INSTANCE="two", **patient)
    await log.write({"triggers": events["triggers"][1:], "rollbacks": events["rollbacks"][3:]})
    await until_read(settings, {topic: len(events[topic]) for topic in ("triggers", "rollbacks")})
    before = await log.changes_of_the_table()
    first.send_signal(signal.SIGCONT)
    await polling.until(log.changes_of_the_table, lambda end: end > before, what="the stale change")
    polling.poll_until(lambda: "left to the owner" in analyzers.log(0).read_text(), 40, "the fence")
    assert (await rows(settings))[0]["outcome"] == "Success"
    first.kill()
    second.kill()

    analyzers.start(BACKOUT_INSTANCE="three", **patient)
    await log.write({"notifications": events["notifications"]})
    row = (await until(settings, reported(scenario.id)))[scenario.id]
    assert (row["status"], row["outcome"], row["reason"]) == ("closed", "Success", "settled")
    assert len(read_report(row)["timeline"]) == 18


async def test_a_database_that_drops_its_connections_is_waited_for(
    analyzers: Analyzers, log: Topics, settings: Settings
) -> None:
    scenario = scenario_of_now()
    process = analyzers.start()
    events = scenario.rolled_back()
    await log.write({"triggers": events["triggers"]})
    await until(settings, lambda found: scenario.id in found)
    assert await drop_connections(settings) > 0
    await log.write({topic: events[topic] for topic in ("rollbacks", "notifications")})

    row = (await until(settings, reported(scenario.id)))[scenario.id]
    assert (row["reason"], row["addenda"]) == ("settled", 0)
    assert len(read_report(row)["timeline"]) == 18
    analyzers.stop(process)
