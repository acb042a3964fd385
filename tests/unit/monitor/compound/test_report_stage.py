"""A report fires at once, lasts ten minutes after the last of its kind, and is never called resolved."""

from __future__ import annotations

from dataclasses import replace

from services.monitor.domain.compound.definitions import CompoundRule, Reported, rule_from_definition
from services.monitor.domain.compound.outcomes import CompoundOutcome
from services.monitor.domain.compound.report_stage import MOST_PARTS, Report, ReportStage
from tests.unit.monitor.compound.members import T0

CORRUPTED = CompoundRule("corrupted", Reported(("data_corruption",)), immediate=True)
EITHER = CompoundRule("either", Reported(("data_corruption", "security_breach")))


def _report(name: str, at: float, kind: str = "data_corruption") -> Report:
    first = Report(name, "data_corruption", "vectors", at, "ops", "17 of 2000 differ")
    return first if kind == "data_corruption" else replace(first, kind="security_breach")


def _seconds(outcomes: list[CompoundOutcome]) -> list[tuple[str, int]]:
    return [(outcome.kind, outcome.at - T0) for outcome in outcomes]


def test_it_fires_at_the_second_it_was_reported() -> None:
    stage = ReportStage([CORRUPTED, EITHER])
    outcomes = stage.take(_report("one", T0 + 0.7), T0 + 0.9)
    assert [(o.rule.name, o.kind, o.at, o.value) for o in outcomes] == [
        ("corrupted", "fired", T0, 1),
        ("either", "fired", T0, 1),
    ]
    assert outcomes[0].why == "ops reported data corruption of vectors at 00:00:00 UTC: 17 of 2000 differ"
    assert outcomes[0].trigger_id.startswith("corrupted:full_system-")
    assert outcomes[0].trigger_id.endswith(":20260101T000000Z")


def test_only_the_kinds_that_are_named_count() -> None:
    stage = ReportStage([CORRUPTED, EITHER])
    outcomes = stage.take(_report("one", T0, "security_breach"), T0)
    assert [outcome.rule.name for outcome in outcomes] == ["either"]


def test_it_is_announced_each_minute_and_expires_as_superseded() -> None:
    stage = ReportStage([CORRUPTED])
    outcomes = stage.take(_report("one", T0), T0)
    assert stage.due == T0 + 60
    for second in range(1, 700):
        outcomes += stage.pass_time(T0 + second)
    assert _seconds(outcomes) == [
        ("fired", 0),
        *(("firing", at) for at in range(60, 600, 60)),
        ("superseded", 600),
    ]
    assert outcomes[-1].reason == "report_expired"
    assert "for a person to say" in outcomes[-1].why
    assert stage.due is None


def test_a_further_report_prolongs_it_and_begins_nothing() -> None:
    stage = ReportStage([CORRUPTED])
    (fired,) = stage.take(_report("one", T0), T0)
    assert stage.take(_report("two", T0 + 30), T0 + 30) == []
    assert stage.take(_report("two", T0 + 30), T0 + 31) == []
    (again,) = stage.pass_time(T0 + 60)
    assert (again.trigger_id, again.value) == (fired.trigger_id, 2)
    assert [part.id for part in again.parts] == ["one", "two"]
    assert _seconds(stage.pass_time(T0 + 629))[-1] == ("firing", 600)
    assert _seconds(stage.pass_time(T0 + 630)) == [("superseded", 630)]


def test_after_its_end_a_report_begins_anew() -> None:
    stage = ReportStage([CORRUPTED])
    (first,) = stage.take(_report("one", T0), T0)
    *ended, second = stage.take(_report("two", T0 + 700), T0 + 700)
    assert ended[-1].kind == "superseded"
    assert (second.kind, second.at) == ("fired", T0 + 700)
    assert second.trigger_id != first.trigger_id


def test_one_that_waited_too_long_is_told_and_over() -> None:
    """Nothing is dropped in silence: the executor refuses it as stale, and says so."""
    stage = ReportStage([CORRUPTED])
    assert _seconds(stage.take(_report("one", T0), T0 + 3_600)) == [("fired", 0), ("superseded", 600)]
    waited = ReportStage([CORRUPTED]).take(_report("one", T0), T0 + 420)
    assert _seconds(waited) == [("fired", 0), *(("firing", at) for at in range(120, 421, 60))]


def test_many_reports_are_counted_and_the_first_named() -> None:
    stage = ReportStage([CORRUPTED])
    for number in range(100):
        stage.take(_report(f"report-{number}", T0 + number / 10), T0 + number / 10)
    (again,) = stage.pass_time(T0 + 60)
    assert again.value == 100
    assert len(again.parts) == MOST_PARTS


def test_a_restart_goes_on_and_a_changed_definition_supersedes() -> None:
    stage = ReportStage([CORRUPTED])
    (fired,) = stage.take(_report("one", T0), T0)
    kept = stage.changed()["corrupted"]
    assert kept is not None
    again = ReportStage([rule_from_definition(CORRUPTED.definition())])
    assert again.recall([kept]) == []
    assert again.take(_report("one", T0), T0 + 1) == []
    assert [o.trigger_id for o in again.pass_time(T0 + 60)] == [fired.trigger_id]
    changed = ReportStage([replace(CORRUPTED, immediate=False)])
    assert [(o.kind, o.trigger_id) for o in changed.recall([kept])] == [("superseded", fired.trigger_id)]
    assert changed.changed() == {"corrupted": None}
