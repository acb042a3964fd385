"""The generated files are what the models say today; a stale one fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from schemas.envelope import CONTENT_TYPE
from schemas.generate import HERE, stale, write
from schemas.json_schemas import json_schemas, schema_urn
from schemas.registry import DATA_MODELS, event_types
from schemas.topics import all_topics


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The committed generated files, to spoil."""
    shutil.copytree(HERE / "json", tmp_path / "json")
    shutil.copy(HERE / "asyncapi.yaml", tmp_path)
    return tmp_path


def test_the_committed_files_are_fresh() -> None:
    assert stale() == []


def test_a_changed_file_is_stale(copy: Path) -> None:
    schema = copy / "json" / "triggers.json"
    schema.write_text(schema.read_text().replace("threshold", "limit"))
    assert stale(copy) == ["schemas/json/triggers.json is stale"]


def test_a_missing_and_a_left_over_file_are_named(copy: Path) -> None:
    (copy / "json" / "logs.json").rename(copy / "json" / "journals.json")
    assert stale(copy) == [
        "schemas/json/logs.json is missing",
        "schemas/json/journals.json is generated no longer",
    ]


def test_writing_mends_all_of_it(copy: Path) -> None:
    (copy / "asyncapi.yaml").unlink()
    (copy / "json" / "logs.json").rename(copy / "json" / "journals.json")
    write(copy)
    assert stale(copy) == []


@pytest.mark.parametrize("name", sorted(json_schemas()))
def test_every_schema_is_one(name: str) -> None:
    schema = json_schemas()[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == schema_urn(name)


def test_an_events_dataschema_is_the_id_of_a_schema() -> None:
    ids = {schema["$id"] for schema in json_schemas().values()}
    assert {schema_urn(model.topic) for model in DATA_MODELS} <= ids


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    text = (HERE / "asyncapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


class TestAsyncApi:
    """The document has the parts that AsyncAPI 3 asks for, and all its references lead somewhere."""

    def test_the_required_fields(self, document: dict[str, Any]) -> None:
        assert document["asyncapi"] == "3.0.0"
        assert document["info"]["title"]
        assert document["info"]["version"]
        allowed = {
            "asyncapi",
            "id",
            "info",
            "servers",
            "defaultContentType",
            "channels",
            "operations",
            "components",
        }
        assert set(document) <= allowed

    def test_every_topic_is_a_channel(self, document: dict[str, Any]) -> None:
        addresses = {name: channel["address"] for name, channel in document["channels"].items()}
        assert addresses == {name: topic.name for name, topic in all_topics().items()}
        for name, channel in document["channels"].items():
            kafka = channel["bindings"]["kafka"]
            assert kafka["partitions"] == all_topics()[name].partitions
            assert channel["messages"]

    def test_every_type_of_event_is_a_message(self, document: dict[str, Any]) -> None:
        messages = document["components"]["messages"].values()
        events = {item["name"] for item in messages if item["contentType"] == CONTENT_TYPE}
        assert events == set(event_types())

    def test_every_role_is_an_operation(self, document: dict[str, Any]) -> None:
        roles = []
        for topic_id, topic in all_topics().items():
            roles += [("send", topic_id, name) for name in topic.producers]
            roles += [("receive", topic_id, name) for name in topic.consumers]
        found = [
            (item["action"], item["channel"]["$ref"].removeprefix("#/channels/"), item["title"].split(":")[0])
            for item in document["operations"].values()
        ]
        assert sorted(found) == sorted(roles)

    def test_every_reference_leads_somewhere(self, document: dict[str, Any]) -> None:
        references = list(_references(document))
        assert len(references) > 2 * len(event_types())
        for reference in references:
            file, _, pointer = reference.partition("#")
            target: Any = document if not file else yaml.safe_load((HERE / file).read_text())
            for part in filter(None, pointer.split("/")):
                assert part in target, reference
                target = target[part]

    def test_names_are_what_the_specification_allows(self, document: dict[str, Any]) -> None:
        for name in [*document["channels"], *document["components"]["messages"], *document["operations"]]:
            assert name.replace("-", "").replace("_", "").replace(".", "").isalnum(), name


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
