"""An event is written and read as a CloudEvent; what is none is refused with its reason."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import schemas
from schemas.commands import PauseCommand, RollbackCommand
from schemas.envelope import Event, bounded_id, event_type, make_event
from schemas.registry import DATA_MODELS, MAX_EVENT_BYTES, UnreadableEvent, event_types, kinds, read_event
from schemas.triggers import TriggerAction, TriggerEvent

NOW = datetime(2026, 11, 2, 9, 14, 31, tzinfo=UTC)
EXAMPLES = Path(schemas.__path__[0]) / "examples"


def a_command(**changes: Any) -> RollbackCommand:
    fields: dict[str, Any] = {
        "component": "pdf_extraction",
        "issued_by": "oncall@example.org",
        "issued_at": NOW,
        "expires_at": NOW + timedelta(minutes=10),
    }
    return RollbackCommand(**{**fields, **changes})


def an_event(**changes: Any) -> Event[RollbackCommand]:
    fields: dict[str, Any] = {
        "event_id": "cmd-1",
        "source": "/backout/cli",
        "time": NOW,
        "subject": "pdf_extraction",
        "correlationid": "cmd-1",
    }
    return make_event(a_command(), **{**fields, **changes})


def raw(**changes: Any) -> bytes:
    """The event as bytes, with attributes changed; None takes one away."""
    event = json.loads(an_event().to_bytes()) | changes
    return json.dumps({name: value for name, value in event.items() if value is not None}).encode()


def reason_of(value: bytes | None) -> str:
    with pytest.raises(UnreadableEvent) as caught:
        read_event(value)
    return caught.value.reason


def test_type_and_schema_follow_from_the_data() -> None:
    event = an_event()
    assert event.type == "io.backout.commands.rollback.v1"
    assert event.dataschema == "urn:backout:schema:commands:v1"
    assert event_type("notifications", "not_configured") == "io.backout.notifications.not-configured.v1"


def test_absent_extensions_are_not_written() -> None:
    written = json.loads(an_event().to_bytes())
    assert not {"causationid", "traceparent"} & written.keys()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    written = json.loads(an_event(causationid="t-1", traceparent=trace).to_bytes())
    assert (written["causationid"], written["traceparent"]) == ("t-1", trace)


def test_an_event_survives_the_way_through_bytes() -> None:
    event = an_event(causationid="t-1")
    assert read_event(event.to_bytes()) == event


def test_every_type_is_named_once() -> None:
    named = [event_type(model.topic, kind) for model in DATA_MODELS for kind in kinds(model)]
    assert len(named) == len(set(named))
    assert set(named) == set(event_types())


def test_a_newer_writer_may_add_fields() -> None:
    value = json.loads(raw(sequencetype="Integer"))
    value["data"]["approved_by"] = ["oncall@example.org"]
    assert read_event(json.dumps(value).encode()) == an_event()


def test_infinity_is_written_as_what_json_has() -> None:
    trigger = TriggerEvent(
        kind="fired",
        trigger_id="t",
        trigger="t",
        component="c",
        group={"component": "c"},
        metric="m",
        severity="high",
        at=NOW,
        began=NOW,
        value=math.inf,
        threshold=1.0,
        condition="> 1",
        reason="breach_held",
        why="it is infinite",
        action=TriggerAction(kind="rollback", target="c"),
        rule_hash="h",
    )
    event = make_event(trigger, event_id="t/1", source="s", time=NOW, subject="c", correlationid="t")
    read = read_event(event.to_bytes())
    assert isinstance(read.data, TriggerEvent)
    assert read.data.value is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{", "invalid_json"),
        (b"\xff\xfe\x00", "invalid_json"),
        (b'{"type": "\xc3\x28"}', "invalid_json"),
        (b"[" * 10_000, "invalid_json"),
        (b'{"specversion": "1.0", "type": NaN}', "invalid_json"),
        (b"[]", "not_an_event"),
        (b'"text"', "not_an_event"),
        (raw(type=None), "not_an_event"),
        (raw(type=7), "not_an_event"),
        (raw(specversion=None), "not_an_event"),
        (b'{"metric": "m", "component": "c", "value": 1, "time": 1}', "not_an_event"),
        (raw(type="io.backout.commands.rollback.v2"), "unknown_version"),
        (raw(type="io.backout.commands.dance.v1"), "unknown_type"),
        (raw(type="com.example.other"), "unknown_type"),
        (raw(type="io.backout.commands.pause.v1"), "invalid_event"),
        (raw(specversion="0.3"), "invalid_event"),
        (raw(id=""), "invalid_event"),
        (raw(time="yesterday"), "invalid_event"),
        (raw(time="2026-11-02T09:14:31"), "invalid_event"),
        (raw(subject="two words"), "invalid_event"),
        (raw(data=[]), "invalid_event"),
        (raw(data=None), "invalid_event"),
        (raw(id="a\0b"), "invalid_event"),
        (raw(time="0001-01-01T00:00:00+14:00"), "invalid_event"),
        (raw(time="9999-12-31T23:59:59-14:00"), "invalid_event"),
        (b" " * (MAX_EVENT_BYTES + 1), "too_large"),
    ],
)
def test_what_is_no_event_is_refused_with_its_reason(value: bytes | None, reason: str) -> None:
    assert reason_of(value) == reason


def test_the_message_names_the_field() -> None:
    value = json.loads(raw())
    value["data"]["expires_at"] = 5.5e30
    del value["data"]["issued_by"]
    with pytest.raises(UnreadableEvent, match=r"^data\.issued_by: Field required \(and 1 more\)$"):
        read_event(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("issued_by", "a\0b", r"data\.issued_by: holds U\+0000, which no database of ours can keep"),
        ("expires_at", "1969-12-31T23:59:59Z", r"data\.expires_at: 1969-.* is not in the years 1970 to 8999"),
        ("expires_at", "9999-12-31T23:59:59Z", r"data\.expires_at: 9999-.* is not in the years 1970 to 8999"),
    ],
)
def test_what_no_service_could_keep_or_reckon_with_is_refused(field: str, value: str, said: str) -> None:
    event = json.loads(raw())
    event["data"][field] = value
    with pytest.raises(UnreadableEvent, match=f"^{said}$"):
        read_event(json.dumps(event).encode())


def test_a_time_or_a_nul_deep_within_is_found() -> None:
    trigger = json.loads((EXAMPLES / "triggers/fired.json").read_text())
    trigger["data"]["group"]["node"] = "a\0b"
    with pytest.raises(UnreadableEvent, match=r"^data\.group\.node: holds U\+0000"):
        read_event(json.dumps(trigger).encode())
    del trigger["data"]["group"]["node"]
    trigger["data"]["members"] = [{"id": "t", "name": "n", "component": "c", "at": "0001-01-01T00:00:00Z"}]
    with pytest.raises(UnreadableEvent, match=r"^data\.members\.0\.at: 0001-"):
        read_event(json.dumps(trigger).encode())


def test_a_nul_in_words_for_people_sets_no_event_aside() -> None:
    event = json.loads(raw())
    event["data"]["reason"] = "a\0b"
    assert read_event(json.dumps(event).encode()).id == "cmd-1"


def test_a_backslash_before_u0000_is_a_text() -> None:
    event = json.loads(raw())
    event["data"]["issued_by"] = "the log says \\u0000"
    assert read_event(json.dumps(event).encode()).id == "cmd-1"


def test_an_unknown_version_says_which_is_read() -> None:
    with pytest.raises(UnreadableEvent, match=r"backout reads io\.backout\.commands\.pause\.v1"):
        read_event(raw(type="io.backout.commands.pause.v3"))


def test_a_time_of_another_zone_is_the_same_instant() -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    assert read_event(an_event(time=NOW.astimezone(there)).to_bytes()).time == NOW


@pytest.mark.parametrize("component", ["", "-a", "a b", "a/b", "ü", "a" * 129, "a\n"])
def test_a_component_has_a_name_that_can_be_a_key(component: str) -> None:
    with pytest.raises(ValidationError):
        a_command(component=component)


def test_an_id_that_is_made_of_others_stays_within_its_length_and_one_of_its_kind() -> None:
    longest = "i" * 512
    assert bounded_id(longest) == longest
    made = {bounded_id(f"{longest}/{suffix}") for suffix in ("1", "2", "opened")}
    assert {len(one) for one in made} == {512}
    assert len(made) == 3


def test_data_cannot_be_changed() -> None:
    command = PauseCommand(issued_by="oncall@example.org", issued_at=NOW, expires_at=NOW)
    with pytest.raises(ValidationError, match="frozen"):
        command.reason = "another"  # type: ignore[misc]
