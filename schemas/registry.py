"""Which data a type of event carries, and reading an event from its bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, get_args

import msgspec
from pydantic import BaseModel, ValidationError

from schemas.breakers import BreakerAlive, BreakerDecision
from schemas.commands import CloseIncidentCommand, PauseCommand, ResumeCommand, RollbackCommand
from schemas.envelope import Event, KindedData, event_model, event_type
from schemas.heartbeats import Heartbeat
from schemas.incidents import IncidentEvent
from schemas.notifications import DeliveryEvent
from schemas.predictions import PredictionEvent
from schemas.reports import ReportEvent
from schemas.rollbacks import RollbackEvent
from schemas.triggers import GroupOverflow, TriggerEvent

DATA_MODELS: tuple[type[KindedData], ...] = (
    TriggerEvent,
    ReportEvent,
    GroupOverflow,
    BreakerDecision,
    BreakerAlive,
    PredictionEvent,
    Heartbeat,
    RollbackCommand,
    PauseCommand,
    ResumeCommand,
    CloseIncidentCommand,
    RollbackEvent,
    DeliveryEvent,
    IncidentEvent,
)

AnyEvent = Event[KindedData]
MAX_EVENT_BYTES = 1_000_000
_FREE_TEXTS = frozenset({"why", "reason", "detail"})
"""What only people read: an event is not set aside for a NUL there, whoever stores it leaves it out."""
# Services add minutes and hours to the times of events: at the ends of the calendar that overflows.
_EARLIEST, _AFTER_THE_LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class UnreadableEvent(ValueError):
    """These bytes are no event that this version reads. ``reason`` is a short fixed word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def kinds(model: type[KindedData]) -> Iterator[str]:
    """The kinds of event that a model of data stands for."""
    yield from get_args(model.model_fields["kind"].annotation)


@cache
def event_types() -> dict[str, type[KindedData]]:
    """Every type that this version reads and writes, with the model of its data."""
    return {event_type(model.topic, kind): model for model in DATA_MODELS for kind in kinds(model)}


def read_event(value: bytes | None) -> AnyEvent:
    """Read one structured-mode CloudEvent.

    Raises UnreadableEvent with the reason ``empty``, ``too_large``, ``invalid_json``,
    ``not_an_event``, ``unknown_version``, ``unknown_type`` or ``invalid_event``; the message
    names the field. Invalid is also what no service could keep or reckon with: a NUL in a name or an
    id, a time before 1970 or after 8999.
    """
    if not value:
        raise UnreadableEvent("empty", "the record has no value")
    if len(value) > MAX_EVENT_BYTES:
        raise UnreadableEvent("too_large", f"{len(value)} bytes, more than {MAX_EVENT_BYTES}")
    try:
        raw = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableEvent("invalid_json", f"not JSON: {error}") from None
    for attribute in ("specversion", "type"):
        if not isinstance(raw, dict) or not isinstance(raw.get(attribute), str):
            raise UnreadableEvent("not_an_event", f"not a CloudEvent: it has no `{attribute}`")
    model = _model_of(raw["type"])
    try:
        event = event_model(model).model_validate_json(value)
    except ValidationError as error:
        raise UnreadableEvent("invalid_event", _first_problem(error)) from None
    if event_type(model.topic, event.data.kind) != event.type:
        raise UnreadableEvent("invalid_event", f"type {event.type} carries kind {event.data.kind!r}")
    problem = _problem_in(event, "", with_texts=b"\\u0000" in value)
    if problem is not None:
        raise UnreadableEvent("invalid_event", problem)
    return event


def _problem_in(value: Any, place: str, *, with_texts: bool) -> str | None:
    """The first value that cannot be stored or reckoned with, though it has the right type."""
    if isinstance(value, datetime):
        if not _EARLIEST <= value < _AFTER_THE_LATEST:
            return f"{place}: {value.isoformat()} is not in the years 1970 to 8999"
    elif isinstance(value, str):
        if with_texts and "\0" in value:
            return f"{place}: holds U+0000, which no database of ours can keep"
    elif isinstance(value, BaseModel | Mapping):
        fields = value.__dict__ if isinstance(value, BaseModel) else value
        for name, inner in fields.items():
            where = f"{place}.{name}" if place else name
            problem = _problem_in(name, where, with_texts=with_texts)
            strict = with_texts and name not in _FREE_TEXTS
            problem = problem or _problem_in(inner, where, with_texts=strict)
            if problem is not None:
                return problem
    elif isinstance(value, tuple | list):
        for index, inner in enumerate(value):
            problem = _problem_in(inner, f"{place}.{index}", with_texts=with_texts)
            if problem is not None:
                return problem
    return None


def _model_of(name: str) -> type[KindedData]:
    model = event_types().get(name)
    if model is not None:
        return model
    stem, _, version = name.rpartition(".")
    if version.startswith("v") and any(known.rpartition(".")[0] == stem for known in event_types()):
        raise UnreadableEvent("unknown_version", f"{name}: this version of backout reads {stem}.v1")
    raise UnreadableEvent("unknown_type", f"{name[:200]}: no such type of event")


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "event"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}: {first['msg']}{more}"
