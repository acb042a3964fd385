"""The envelope of every control-plane event: CloudEvents 1.0 in structured JSON.

Extensions: ``correlationid`` is the incident's id (the id of the first trigger or command
that began it), ``causationid`` the id of the event that caused this one, ``traceparent`` as
in W3C Trace Context.

Readers accept fields that they do not know, in the envelope and in the data, so that a newer
writer can add some; they refuse a type or version that they do not know.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar, cast

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

CONTENT_TYPE = "application/cloudevents+json"
SCHEMA_BASE = "urn:backout:schema"

Component = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=128)]
"""A component's name: what samples, triggers, playbooks and keys agree on."""

MAX_ID = 512
EventId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]


def bounded_id(identity: str, limit: int = MAX_ID) -> str:
    """An id that is made of others, within the length that one may have; a longer one ends in a hash of
    the whole, so that it is still this one alone."""
    if len(identity) <= limit:
        return identity
    return f"{identity[: limit - 33]}-{sha256(identity.encode()).hexdigest()[:32]}"


class Data(BaseModel):
    """The data of one event. Immutable; what a newer writer added is passed over."""

    # JSON has no infinity: a sum that overflowed is written as null, not as a text that no reader takes.
    model_config = ConfigDict(extra="ignore", frozen=True, ser_json_inf_nan="null")

    topic: ClassVar[str]
    """The short id of the topic (``schemas/topics.yaml``) that carries it."""


class KindedData(Data):
    """Data whose ``kind`` names the event: the type is ``io.backout.<topic>.<kind>.v1``."""

    kind: str


D = TypeVar("D", bound=KindedData)
D_co = TypeVar("D_co", bound=KindedData, covariant=True)


class Event(BaseModel, Generic[D_co]):
    """One CloudEvent. ``subject`` is the component, and so the key of the record; ``source`` is
    ``/backout/<service>``, with ``/<instance>`` where it matters which one wrote it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: EventId
    source: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    type: str
    time: AwareDatetime
    subject: Component
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str
    correlationid: EventId
    causationid: EventId | None = None
    traceparent: str | None = None
    data: Annotated[D_co, Field()]

    def to_bytes(self) -> bytes:
        """The event as structured-mode JSON, absent extensions left out."""
        return self.model_dump_json(exclude_none=False, exclude=self._absent()).encode()

    def _absent(self) -> set[str]:
        return {name for name in ("causationid", "traceparent") if getattr(self, name) is None}


def event_type(topic: str, kind: str, version: int = 1) -> str:
    """``io.backout.<topic>.<kind>.v<version>``, with hyphens in place of underscores."""
    return f"io.backout.{topic}.{kind.replace('_', '-')}.v{version}"


@cache
def event_model(data: type[D]) -> type[Event[D]]:
    """The model of an event that carries this data (built once: it is not cheap)."""
    model = cast("type[Event[D]]", Event.__class_getitem__(data))
    return model


def make_event(
    data: D,
    *,
    event_id: str,
    source: str,
    time: datetime,
    subject: str,
    correlationid: str,
    causationid: str | None = None,
    traceparent: str | None = None,
) -> Event[D]:
    """Put ``data`` into its envelope; type and schema follow from the data."""
    fields: dict[str, Any] = {
        "id": event_id,
        "source": source,
        "type": event_type(data.topic, data.kind),
        "time": time,
        "subject": subject,
        "dataschema": f"{SCHEMA_BASE}:{data.topic}:v1",
        "correlationid": correlationid,
        "causationid": causationid,
        "traceparent": traceparent,
        "data": data,
    }
    model: type[Event[D]] = event_model(type(data))
    return model(**fields)
