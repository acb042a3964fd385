"""The report says what the evidence says, and the same evidence always gives the same bytes."""

from __future__ import annotations

import random
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from schemas.registry import AnyEvent
from services.analyzer.adapters.render import Rendered, render
from services.analyzer.domain.document import Report
from services.analyzer.domain.report import MAX_FINDINGS, build_report
from tests.unit.analyzer.scenario import COMPONENT, RECEIVERS, STEPS, Scenario, closing_of, records_of


def report_of(scenario: Scenario, events: dict[str, list[AnyEvent]], **closing: Any) -> Report:
    records = records_of(scenario, events)
    return build_report(closing_of(scenario, records, **closing), records)


@pytest.fixture(scope="module")
def report() -> Report:
    scenario = Scenario()
    return report_of(scenario, scenario.rolled_back())


@pytest.fixture(scope="module")
def rendered(report: Report) -> Rendered:
    return render(report)


def test_stages_with_the_time_between_them(report: Report) -> None:
    stages = [(stage.key, stage.since_first_s) for stage in report.stages]
    assert stages == [
        ("began", 0.0),
        ("fired", 10.0),
        ("started", 10.4),
        ("step", 11.8),
        ("step", 13.2),
        ("validated", 14.4),
        ("step", 14.6),
        ("step", 16.0),
        ("completed", 16.2),
        ("recovered", 84.0),
        ("closed", 96.0),
    ]
    assert sum(stage.since_previous_s for stage in report.stages) == pytest.approx(96.0)


def test_what_triggered_and_why(report: Report) -> None:
    (trigger,) = report.triggers
    assert (trigger.value, trigger.threshold, trigger.condition) == (4_120.0, 3_000.0, "> 3000 for 10s")
    assert trigger.evidence is not None
    assert (trigger.evidence.first_offset, trigger.evidence.last_offset) == (10, 19)
    assert (trigger.ended, trigger.absorbed) == ("resolved", False)


def test_impact_before_during_and_after(report: Report) -> None:
    main = report.metrics[0]
    assert main.metric == "response_time_p95_ms"
    assert main.before.median == pytest.approx(280, abs=30)
    assert main.during.median == pytest.approx(4_100, abs=60)
    assert main.after.median == pytest.approx(280, abs=60)
    assert main.beyond_threshold_s == 80.0
    assert main.worst == main.during.high == pytest.approx(4_160, abs=1)
    counter = next(part for part in report.metrics if part.metric == "requests_total")
    assert counter.during.increase == 4.0 * 84
    assert main.during.increase is None


def test_steps_checks_and_deliveries(report: Report) -> None:
    (execution,) = report.executions
    assert [(step.id, step.status, step.duration_s) for step in execution.steps] == [
        (name, "done", 1.2) for name in STEPS
    ]
    assert [(check.name, check.passed) for check in execution.checks] == [
        ("accuracy", True),
        ("seconds_per_page", True),
    ]
    assert [(one.receiver, one.about, one.in_time) for one in report.deliveries] == [
        (RECEIVERS[0], "rollback_initiated", True),
        (RECEIVERS[1], "rollback_initiated", True),
        (RECEIVERS[0], "rollback_completed", True),
        (RECEIVERS[1], "rollback_completed", True),
    ]
    assert report.deliveries[0].after_s == pytest.approx(0.6)


def test_the_timeline_has_every_event_with_its_place(report: Report) -> None:
    scenario = Scenario()
    events = scenario.rolled_back()
    expected = {event.id for listed in events.values() for event in listed}
    assert {entry.event_id for entry in report.timeline} - {None} == expected
    keys = [(entry.at, entry.topic, entry.partition, entry.offset) for entry in report.timeline]
    assert keys == sorted(keys)
    assert all(entry.what for entry in report.timeline)


def test_the_summary_is_in_words(report: Report) -> None:
    assert report.summary == (
        "response_time_p95_ms of pdf_extraction breached > 3000 for 10s (4,120 ms when response_time_p95 "
        "fired, 4,160 ms at its worst). The rollback of pdf_extraction ended in Success after 5.80 s: "
        "4 of 4 steps done, 2 of 2 checks passed. The trigger resolved 1 min 24 s after the breach began."
    )


def test_findings_are_observations(report: Report) -> None:
    assert [(one.severity, one.body) for one in report.findings] == [
        ("INFO", "mode is now enhanced"),
        ("WARN", "slow"),
    ]


def test_the_order_of_the_records_does_not_matter(rendered: Rendered) -> None:
    scenario = Scenario()
    records = records_of(scenario, scenario.rolled_back())
    closing = closing_of(scenario, records)
    for seed in range(5):
        shuffled = [*records, *records[:7]]
        random.Random(seed).shuffle(shuffled)  # noqa: S311 - an order, not a secret
        assert render(build_report(closing, shuffled)) == rendered


def test_records_of_others_are_left_out() -> None:
    scenario, other = Scenario(), Scenario(component="query_api", trigger="latency", execution_id="exec-9")
    mine, theirs = records_of(scenario, scenario.rolled_back()), records_of(other, other.rolled_back())
    closing = closing_of(scenario, mine)
    # Their records stand behind mine, as they would in the same log.
    moved = [replace(one, offset=one.offset + 10_000) for one in theirs]
    assert build_report(closing, [*mine, *moved]) == build_report(closing, mine)


def test_an_event_that_was_sent_twice_stands_once() -> None:
    scenario = Scenario()
    events = scenario.rolled_back()
    once = report_of(scenario, events)
    twice = {**events, "rollbacks": [*events["rollbacks"], events["rollbacks"][0]]}
    again = report_of(scenario, twice)
    assert again.timeline == once.timeline
    assert again.executions == once.executions


def test_a_failed_rollback_is_not_told_as_a_success() -> None:
    scenario = Scenario()
    events = scenario.rolled_back("Failed")
    why = scenario.journal("escalation_required", 17, why="The validation failed: roll back by hand")
    events["rollbacks"].append(why)
    page = render(report_of(scenario, events, status="Failed")).html.decode()
    assert "Rollback failed" in page
    assert "The validation failed: roll back by hand" in page
    assert "Rolled back<" not in page


def test_in_shadow_mode_the_steps_that_were_planned_are_told() -> None:
    scenario = Scenario()
    plan = [
        {"id": name, "action": "http.call", "description": f"{name} it", "reversible": True, "fenced": True}
        for name in ("drain", "switch")
    ]
    planned = scenario.journal("planned", 11, plan=plan)
    events = {
        "triggers": [scenario.triggered("fired", 10), scenario.triggered("resolved", 84)],
        "rollbacks": [planned],
    }
    report = report_of(scenario, events)
    assert "was planned in 2 steps and not carried out (shadow mode)" in report.summary
    (execution,) = report.executions
    assert [(step.index, step.id, step.status) for step in execution.steps] == [
        (1, "drain", "planned"),
        (2, "switch", "planned"),
    ]
    rendered = render(report)
    assert "switch it" in rendered.html.decode()
    assert "| 2 | switch | http.call | planned |" in rendered.markdown.decode()


def test_a_rollback_by_hand_has_no_trigger() -> None:
    scenario = Scenario()
    started = scenario.journal("started", 1, correlation="command-1", requested_by="command-1")
    ended = scenario.journal(
        "completed", 5, correlation="command-1", requested_by="command-1", status="Success"
    )
    records = records_of(scenario, {"commands": [scenario.commanded(0)], "rollbacks": [started, ended]})
    closing = closing_of(scenario, records).model_copy(update={"incident_id": "command-1", "triggers": ()})
    report = build_report(closing, records)
    assert report.summary.startswith("A rollback of pdf_extraction was asked for by hand.")
    assert [stage.key for stage in report.stages] == ["requested", "started", "completed", "closed"]
    assert report.metrics[0].threshold is None
    assert b"on-call asked to <b>roll back</b>" in render(report).html


def test_by_hand_is_said_only_where_a_person_asked() -> None:
    scenario = Scenario()
    journal = [scenario.journal("started", 1), scenario.journal("completed", 5, status="Success")]
    close = scenario.close_command(9)
    report = report_of(scenario, {"commands": [close], "rollbacks": journal})
    assert report.summary.startswith(
        "What asked for a rollback of pdf_extraction is not among the records. "
        "The rollback of pdf_extraction ended in Success"
    )


@pytest.mark.parametrize(("hours", "notes"), [(24, 0), (73, 1)])
def test_it_says_where_the_evidence_of_a_long_incident_ends(hours: int, notes: int) -> None:
    scenario = Scenario()
    report = report_of(scenario, scenario.rolled_back(), seconds=hours * 3_600)
    assert len(report.notes) == notes
    for note in report.notes:
        assert note.startswith("The incident was open for 73 h 00 min: metrics and logs are evidence")
        drawn = render(report)
        assert note in drawn.html.decode()
        assert note in drawn.markdown.decode()


def test_much_that_was_logged_is_bounded() -> None:
    scenario = Scenario()
    records = records_of(scenario, scenario.rolled_back())
    line = next(one for one in records if one.kind == "logs")
    flood = [
        replace(line, offset=100 + n, value=scenario.log_line(1, f"line {n}"))
        for n in range(MAX_FINDINGS + 50)
    ]
    report = build_report(closing_of(scenario, [*records, *flood]), [*records, *flood])
    assert len(report.findings) == MAX_FINDINGS
    assert report.findings_left_out == 52


class Page(HTMLParser):
    """What a browser would load, and which tags are left open."""

    VOID = frozenset({"meta", "line", "rect", "circle", "path", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.stack: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def test_the_page_is_whole_and_loads_nothing(rendered: Rendered) -> None:
    page = Page()
    text = rendered.html.decode()
    page.feed(text)
    page.close()
    assert page.stack == []
    assert page.loads == []
    assert "script" not in page.seen
    assert "url(" not in text
    assert "@import" not in text
    assert page.seen.count("svg") == 3
    assert page.seen.count("desc") == 3
    assert "prefers-color-scheme: dark" in text


def test_what_others_wrote_is_text_in_the_page_and_in_markdown() -> None:
    scenario = Scenario()
    events = scenario.rolled_back()
    evil = "<script>alert(1)</script> | `x` [a](b)\n# title"
    events["rollbacks"].append(scenario.journal("escalation_required", 17, why=evil))
    made = render(report_of(scenario, events))
    assert b"<script" not in made.html
    assert b"&lt;script&gt;alert(1)" in made.html
    markdown = made.markdown.decode()
    assert "<script>" not in markdown.replace("\\<script>", "")
    assert "\n# title" not in markdown


def test_markdown_tables_are_whole(rendered: Rendered) -> None:
    lines = rendered.markdown.decode().splitlines()
    for before, line in pairwise(lines):
        if before.startswith("|") and line.startswith("|"):
            assert before.replace("\\|", "").count("|") == line.replace("\\|", "").count("|"), line


def test_no_evidence_at_all_still_makes_a_report() -> None:
    scenario = Scenario()
    closing = closing_of(scenario, [], status=None).model_copy(update={"ranges": ()})
    report = build_report(closing, [])
    assert report.component == COMPONENT
    assert [stage.key for stage in report.stages] == ["closed"]
    assert b"No delivery is in the evidence" in render(report).html
