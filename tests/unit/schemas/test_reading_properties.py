"""Whatever stands on a topic, reading it ends in an event or in a named reason, never otherwise."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import schemas
from schemas.dead_letters import DeadLetterPlace
from schemas.registry import UnreadableEvent, event_types, read_event

EXAMPLES = [
    json.loads(path.read_text())
    for topic in ("triggers", "commands", "rollbacks", "notifications", "incidents")
    for path in sorted((Path(schemas.__path__[0]) / "examples" / topic).glob("*.json"))
]
REASONS = {
    "empty",
    "too_large",
    "invalid_json",
    "not_an_event",
    "unknown_version",
    "unknown_type",
    "invalid_event",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read_or_reason(value: bytes) -> str:
    try:
        return read_event(value).type
    except UnreadableEvent as error:
        return error.reason


@st.composite
def spoilt_events(draw: st.DrawFn) -> dict[str, Any]:
    """An example in which some values are replaced or removed, at any depth."""
    event = copy.deepcopy(draw(st.sampled_from(EXAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = event
        while True:
            key = draw(st.sampled_from(sorted(place)))
            if isinstance(place[key], dict) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            if draw(st.booleans()) and len(place) > 1:
                del place[key]
            else:
                place[key] = draw(JSON)
            break
    return dict(event)


@MANY
@given(st.binary(max_size=300))
def test_any_bytes(value: bytes) -> None:
    assert read_or_reason(value) in REASONS


@MANY
@given(JSON)
def test_any_json(value: Any) -> None:
    assert read_or_reason(json.dumps(value).encode()) in REASONS


@MANY
@given(spoilt_events())
def test_any_spoilt_event(event: dict[str, Any]) -> None:
    assert read_or_reason(json.dumps(event).encode()) in REASONS | event_types().keys()


@MANY
@given(spoilt_events())
def test_what_is_read_can_be_written_and_read_again(event: dict[str, Any]) -> None:
    value = json.dumps(event).encode()
    if read_or_reason(value) not in REASONS:
        read = read_event(value)
        assert read_event(read.to_bytes()) == read


@MANY
@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20))))
def test_any_headers_of_a_dead_letter(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        DeadLetterPlace.from_headers(headers)
