"""An example of every event, valid by its schema, read by us and by the CloudEvents SDK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from schemas.dead_letters import DeadLetterPlace
from schemas.envelope import CONTENT_TYPE, Event, KindedData, event_type
from schemas.generate import HERE
from schemas.json_schemas import json_schemas, schema_urn
from schemas.logs import LogRecord
from schemas.metrics import read_record
from schemas.registry import DATA_MODELS, event_types, kinds, read_event
from schemas.topics import all_topics

EXAMPLES = HERE / "examples"
EVENT_EXAMPLES = sorted(
    path for model in {model.topic for model in DATA_MODELS} for path in (EXAMPLES / model).glob("*.json")
)
SCHEMAS = Registry().with_resources(
    (schema["$id"], Resource.from_contents(schema)) for schema in json_schemas().values()
)


def path_of(topic: str, kind: str) -> Path:
    return EXAMPLES / topic / f"{kind.replace('_', '-')}.json"


def validator(name: str) -> Draft202012Validator:
    schema = {"$ref": schema_urn(name)}
    return Draft202012Validator(schema, registry=SCHEMAS, format_checker=FormatChecker())


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def by_name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_every_kind_of_event_has_an_example() -> None:
    wanted = {path_of(model.topic, kind) for model in DATA_MODELS for kind in kinds(model)}
    assert set(EVENT_EXAMPLES) == wanted


def test_every_topic_has_an_example() -> None:
    internal = {"trigger-states", "compound-states", "prediction-states"}
    assert {path.name for path in EXAMPLES.iterdir()} == set(all_topics()) - internal


@pytest.mark.parametrize("path", EVENT_EXAMPLES, ids=by_name)
def test_an_event_is_valid_by_its_schemas(path: Path) -> None:
    event = load(path)
    assert list(validator("envelope").iter_errors(event)) == []
    assert event["dataschema"] == schema_urn(path.parent.name)
    assert list(validator(path.parent.name).iter_errors(event["data"])) == []


@pytest.mark.parametrize("path", EVENT_EXAMPLES, ids=by_name)
def test_an_event_is_read_and_written_again_without_loss(path: Path) -> None:
    raw = load(path)
    event = read_event(path.read_bytes())
    assert event.type == event_type(path.parent.name, path.stem)
    assert isinstance(event.data, event_types()[event.type])
    assert json.loads(event.to_bytes()) == raw
    assert read_event(event.to_bytes()) == event


@pytest.mark.parametrize("path", EVENT_EXAMPLES, ids=by_name)
def test_the_cloudevents_sdk_reads_what_we_write(path: Path) -> None:
    event: Event[KindedData] = read_event(path.read_bytes())
    message = KafkaMessage(
        headers={"content-type": CONTENT_TYPE.encode()}, key=event.subject.encode(), value=event.to_bytes()
    )
    read = from_kafka_event(message)
    assert read.get_specversion() == "1.0"
    assert read.get_id() == event.id
    assert read.get_source() == event.source
    assert read.get_type() == event.type
    assert read.get_time() == event.time
    assert read.get_subject() == event.subject
    assert read.get_dataschema() == event.dataschema
    assert read.get_extension("correlationid") == event.correlationid
    assert read.get_extension("causationid") == event.causationid
    assert read.get_data() == json.loads(event.data.model_dump_json())


@pytest.mark.parametrize(("name", "samples"), [("sample", 1), ("batch", 4), ("clock", 0), ("release", 0)])
def test_a_record_of_the_metrics_topic(name: str, samples: int) -> None:
    path = EXAMPLES / "metrics" / f"{name}.json"
    assert list(validator("metrics").iter_errors(load(path))) == []
    record = read_record(path.read_bytes())
    assert record.unread == ()
    assert len(record.samples) == samples
    assert (record.clock is not None) == (name == "clock")
    assert (record.release is not None) == (name == "release")


def test_a_log_record() -> None:
    path = EXAMPLES / "logs" / "record.json"
    assert list(validator("logs").iter_errors(load(path))) == []
    assert LogRecord.model_validate_json(path.read_bytes()).component == "pdf_extraction"


def test_the_headers_of_a_dead_letter() -> None:
    example = load(EXAMPLES / "dead-letter" / "headers.json")
    assert list(validator("dead-letter").iter_errors(example)) == []
    place = DeadLetterPlace.from_headers([(name, value.encode()) for name, value in example.items()])
    assert {name: value.decode() for name, value in place.headers()} == example


@pytest.mark.parametrize(
    ("topic", "spoil"),
    [
        ("triggers", {"threshold": "3000"}),
        ("rollbacks", {"progress": 101}),
        ("notifications", {"channel": "pager"}),
        ("incidents", {"ranges": [{"topic": "backout.rollbacks.v1"}]}),
        ("commands", {"issued_by": ""}),
        ("reports", {"reason": ""}),
    ],
)
def test_a_spoilt_event_is_invalid_by_its_schema(topic: str, spoil: dict[str, Any]) -> None:
    data = load(next(path for path in EVENT_EXAMPLES if path.parent.name == topic))["data"]
    assert list(validator(topic).iter_errors({**data, **spoil}))
