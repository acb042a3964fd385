"""Records to decisions: whose announcements count, what is kept, and what is no report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chassis.errors import Unreadable
from schemas.envelope import make_event
from schemas.registry import read_event
from schemas.reports import ReportEvent
from schemas.triggers import TriggerEvent
from services.monitor.adapters.compound_events import compound_event
from services.monitor.domain.compound import memory
from services.monitor.domain.compound.definitions import CompoundRule, Reported
from services.monitor.domain.compound.members import MemberEvent
from services.monitor.domain.compound.report_stage import ReportStage
from services.monitor.domain.engine.outcomes import utc
from services.monitor.handlers.compound_stages import ReportsStage, TriggersStage
from tests.unit.monitor.compound.members import T0, Firing, several, stage

EXAMPLES = Path(__file__).resolve().parents[4] / "schemas" / "examples"
NOW = datetime.fromtimestamp(T0, UTC)


@dataclass(frozen=True)
class Appended:
    """A record as the stage sees it."""

    value: bytes | None
    timestamp: int
    offset: int = 0
    topic: str = "backout.triggers.v1"
    partition: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def _trigger(event: MemberEvent) -> Appended:
    example = read_event((EXAMPLES / "triggers" / "fired.json").read_bytes())
    assert isinstance(example.data, TriggerEvent)
    fields = {
        "kind": event.kind,
        "trigger_id": event.trigger_id,
        "trigger": event.trigger,
        "component": event.component,
        "severity": event.severity,
        "at": utc(event.at),
        "began": utc(event.began),
    }
    data = example.data.model_copy(update=fields)
    made = make_event(data, event_id="e", source="/t", time=NOW, subject=event.component, correlationid="c")
    return Appended(made.to_bytes(), event.at * 1_000)


def test_it_never_counts_what_it_has_told_itself() -> None:
    """A rule that two components satisfy, announced for a third, would otherwise keep itself firing."""
    rule = several(2, 60)
    subject = TriggersStage(stage(rule, lateness=0), {})
    told = []
    for firing in (Firing("a", T0), Firing("b", T0 + 1)):
        told += subject.take(_trigger(firing.event("fired", firing.fired)), T0 + 5)
    (fired,) = told
    own = compound_event(fired, NOW)
    assert own.id == f"{fired.trigger_id}/fired/2026-01-01T00:00:01Z"
    assert own.subject == own.data.component == "full_system"
    assert [member.id for member in own.data.members] == [part.id for part in fired.parts]
    assert subject.take(Appended(own.to_bytes(), T0 * 1_000), T0 + 5) == []
    states = subject.changes(7)
    assert {key for key in states if memory.is_member(key)} == {
        memory.member_key(Firing("a", T0).trigger_id),
        memory.member_key(Firing("b", T0 + 1).trigger_id),
    }


def test_what_is_kept_is_what_was_decided() -> None:
    rule = several(2, 60)
    inner = stage(rule, lateness=0)
    subject = TriggersStage(inner, {})
    firings = (Firing("a", T0), Firing("b", T0 + 1))
    for firing in firings:
        subject.take(_trigger(firing.event("fired", firing.fired)), T0 + 5)
    states = subject.changes(2)
    key = memory.episode_key("triggers", rule.name)
    assert memory.read_episode(states[key] or b"") == inner.episodes[rule.name]
    for member in inner.members.values():
        assert memory.read_member(states[memory.member_key(member.trigger_id)] or b"") == member
    checkpoint = memory.read_checkpoint(states[memory.checkpoint_key("triggers")] or b"")
    assert (checkpoint.next_offset, checkpoint.evaluated, checkpoint.shown) == (2, T0 + 1, inner.shown)
    assert set(subject.changes(2)) == {memory.checkpoint_key("triggers")}
    subject.take(_trigger(firings[0].event("resolved", T0 + 9)), T0 + 9)
    assert subject.changes(3)[key] is None


def test_reports_are_read_as_the_contract_has_them() -> None:
    inner = ReportStage([CompoundRule("breached", Reported(("security_breach",)))])
    subject = ReportsStage(inner)
    value = (EXAMPLES / "reports" / "security-breach.json").read_bytes()
    event = read_event(value)
    assert isinstance(event.data, ReportEvent)
    now = event.data.at.timestamp()
    (fired,) = subject.take(Appended(value, 0), now)
    assert compound_event(fired, NOW).causationid == event.id
    kept = subject.changes(1)[memory.episode_key("reports", "breached")]
    assert memory.read_report_episode(kept or b"") == inner.episodes["breached"]
    with pytest.raises(Unreadable, match="in the future"):
        subject.take(Appended(value, 0), now - 61)
    with pytest.raises(Unreadable, match="not expected here"):
        subject.take(Appended((EXAMPLES / "triggers" / "fired.json").read_bytes(), 0), now)
    with pytest.raises(Unreadable, match="no value"):
        subject.take(Appended(None, 0), now)
    with pytest.raises(Unreadable, match="not expected here"):
        TriggersStage(stage(), {}).take(Appended(value, 0), now)


def test_the_report_that_the_documentation_shows_is_one() -> None:
    text = (EXAMPLES.parents[1] / "docs" / "triggers.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```json\n(\{.*?\})\n```", text, flags=re.DOTALL)
    event = read_event(block.encode())
    assert isinstance(event.data, ReportEvent)
    assert (event.subject, event.data.kind) == (event.data.component, "data_corruption")


def test_an_overflow_of_groups_is_no_member_and_no_dead_letter() -> None:
    overflow = (EXAMPLES / "triggers" / "overflow.json").read_bytes()
    subject = TriggersStage(stage(several(1, 60), lateness=0), {})
    assert subject.take(Appended(overflow, T0 * 1_000), T0 + 5) == []
    assert subject.due is None
