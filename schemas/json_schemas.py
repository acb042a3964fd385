"""JSON Schemas of every contract, for readers in other languages.

``<topic>.json`` is what an event's ``dataschema`` names: its ``$id`` is that URN, and it
describes the data of every kind on the topic. ``envelope.json`` is the CloudEvent around them.
Metrics, logs and the headers of a dead letter have no envelope.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from schemas.dead_letters import DeadLetterPlace
from schemas.envelope import SCHEMA_BASE, Event, KindedData
from schemas.logs import LogRecord
from schemas.metrics import Batch, ClockRecord, ReleaseRecord, Sample
from schemas.registry import DATA_MODELS, event_types

DIALECT = "https://json-schema.org/draft/2020-12/schema"
JsonSchema = dict[str, Any]


class _Untitled(GenerateJsonSchema):
    """Without a title for each field: it would only repeat the field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schemas() -> dict[str, JsonSchema]:
    """Every schema by its name, which is the file's name without ``.json``."""
    topics = dict.fromkeys(model.topic for model in DATA_MODELS)
    return {
        "envelope": _document("envelope", _envelope()),
        **{topic: _document(topic, _event_data(topic)) for topic in topics},
        "metrics": _document("metrics", _metrics()),
        "logs": _document("logs", _schema_of(LogRecord)),
        "dead-letter": _document("dead-letter", _dead_letter_headers()),
    }


def schema_urn(name: str) -> str:
    """The ``$id`` of a schema; for a topic of events, what their ``dataschema`` says."""
    return f"{SCHEMA_BASE}:{name}:v1"


def _document(name: str, schema: JsonSchema) -> JsonSchema:
    return {"$schema": DIALECT, "$id": schema_urn(name), **schema}


def _schema_of(model: Any) -> JsonSchema:
    return TypeAdapter(model).json_schema(schema_generator=_Untitled)


def _event_data(topic: str) -> JsonSchema:
    models = [model for model in DATA_MODELS if model.topic == topic]
    if len(models) == 1:
        return _schema_of(models[0])
    references, schema = models_json_schema(
        [(model, "validation") for model in models], title=topic.capitalize(), schema_generator=_Untitled
    )
    return {"anyOf": list(references.values()), **schema}


def _envelope() -> JsonSchema:
    schema = _schema_of(Event[KindedData])
    schema.pop("$defs")
    schema["title"] = "CloudEvent"
    schema["properties"]["type"]["enum"] = list(event_types())
    schema["properties"]["data"] = {
        "type": "object",
        "description": "As the schema named by dataschema says.",
    }
    return schema


def _metrics() -> JsonSchema:
    contracts: Iterable[type[msgspec.Struct]] = (Sample, Batch, ReleaseRecord, ClockRecord)
    records, definitions = msgspec.json.schema_components(contracts, ref_template="#/$defs/{name}")
    return {"title": "A record of the metrics topic", "anyOf": list(records), "$defs": definitions}


def _dead_letter_headers() -> JsonSchema:
    """Headers are text: the numbers among them are written in digits."""
    fields = DeadLetterPlace.model_fields
    return {
        "title": "Headers of a dead letter",
        "description": "Each value is UTF-8 text. The record's key and value stay as they were.",
        "type": "object",
        "properties": {DeadLetterPlace.header_of(name): _header_value(name) for name in fields},
        "required": [
            DeadLetterPlace.header_of(name) for name, field in fields.items() if field.is_required()
        ],
    }


def _header_value(field: str) -> JsonSchema:
    numeric = DeadLetterPlace.model_fields[field].annotation in (int, int | None)
    return {"type": "string", "pattern": "^[0-9]+$"} if numeric else {"type": "string"}
