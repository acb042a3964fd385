"""Application logs, with the field names of OpenTelemetry's log data model."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, WithJsonSchema

from schemas.envelope import Component


class LogRecord(BaseModel):
    """One log line of a system under protection; ``time`` is RFC 3339 or epoch seconds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    time: Annotated[
        AwareDatetime,
        WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]}),
    ]
    component: Component
    severity: str
    body: str
    attributes: dict[str, Any] = {}
