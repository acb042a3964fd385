"""No change breaks what an older consumer reads or what an older producer wrote.

The recorded release is compared with the models of today; the planted breaks show that the
comparison can fail.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.compatibility import breaking_changes
from schemas.generate import HERE, record
from schemas.json_schemas import json_schemas
from schemas.logs import LogRecord
from schemas.metrics import read_record
from schemas.registry import read_event
from schemas.triggers import TriggerEvent

RELEASED = HERE / "compatibility" / "v1"
SCHEMAS = sorted((RELEASED / "json").glob("*.json"))
RECORDED = sorted((RELEASED / "examples").rglob("*.json"))
Json = dict[str, Any]


def test_a_release_is_recorded() -> None:
    assert {path.stem for path in SCHEMAS} <= json_schemas().keys()
    assert len(SCHEMAS) >= 9
    assert len(RECORDED) >= 38


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_nothing_breaks_against_the_release(path: Path) -> None:
    changes = breaking_changes(json.loads(path.read_text()), json_schemas()[path.stem])
    assert [str(change) for change in changes] == []


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_the_release_wrote_is_still_read(path: Path) -> None:
    value = path.read_bytes()
    match path.parent.name:
        case "metrics":
            assert read_record(value).unread == ()
        case "logs":
            assert LogRecord.model_validate_json(value)
        case "dead-letter":
            assert all(name.startswith("backout-") for name in json.loads(value))
        case _:
            assert read_event(value).id


def test_recording_copies_schemas_and_examples(tmp_path: Path) -> None:
    for name in ("json/a.json", "examples/t/b.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("{}")
    record("v9", tmp_path)
    assert (tmp_path / "compatibility/v9/json/a.json").exists()
    assert (tmp_path / "compatibility/v9/examples/t/b.json").exists()


def rename_a_field(schema: Json) -> None:
    schema["properties"]["limit"] = schema["properties"].pop("threshold")
    schema["required"] = ["limit" if name == "threshold" else name for name in schema["required"]]


def add_a_required_field(schema: Json) -> None:
    schema["properties"]["team"] = {"type": "string"}
    schema["required"].append("team")


def remove_an_optional_field(schema: Json) -> None:
    del schema["properties"]["immediate"]


def change_a_type(schema: Json) -> None:
    schema["properties"]["threshold"] = {"type": "string"}


def narrow_an_enumeration(schema: Json) -> None:
    schema["properties"]["severity"]["enum"].remove("low")


def widen_an_enumeration(schema: Json) -> None:
    schema["properties"]["severity"]["enum"].append("fatal")


def drop_a_kind(schema: Json) -> None:
    schema["properties"]["kind"]["enum"].remove("superseded")


def require_an_optional_field(schema: Json) -> None:
    schema["required"].append("evidence")


def let_a_field_be_absent(schema: Json) -> None:
    schema["required"].remove("rule_hash")


def refuse_null(schema: Json) -> None:
    schema["properties"]["value"] = {"type": "number"}


def accept_null(schema: Json) -> None:
    schema["properties"]["threshold"] = {"anyOf": [{"type": "number"}, {"type": "null"}]}


def shorten_a_text(schema: Json) -> None:
    schema["properties"]["trigger_id"]["maxLength"] = 100


def lengthen_a_text(schema: Json) -> None:
    schema["properties"]["trigger_id"]["maxLength"] = 1_000


def bound_a_number(schema: Json) -> None:
    schema["properties"]["threshold"]["minimum"] = 0


def change_a_pattern(schema: Json) -> None:
    schema["properties"]["component"]["pattern"] = "^[a-z]+$"


def change_what_a_list_or_mapping_holds(schema: Json) -> None:
    schema["properties"]["group"]["additionalProperties"] = {"type": "integer"}


def remove_a_field_of_a_part(schema: Json) -> None:
    del schema["$defs"]["Evidence"]["properties"]["samples"]
    schema["$defs"]["Evidence"]["required"].remove("samples")


BREAKS: list[tuple[Callable[[Json], None], str]] = [
    (rename_a_field, "$.threshold: removed or renamed (older consumer)"),
    (rename_a_field, "$.limit: now required (newer consumer)"),
    (add_a_required_field, "$.team: now required (newer consumer)"),
    (remove_an_optional_field, "$.immediate: removed or renamed (older consumer)"),
    (change_a_type, "$.threshold: number is no longer accepted (newer consumer)"),
    (change_a_type, "$.threshold: string is new (older consumer)"),
    (narrow_an_enumeration, "$.severity: 'low' is no longer a value (newer consumer)"),
    (widen_an_enumeration, "$.severity: 'fatal' is a new value (older consumer)"),
    (drop_a_kind, "$.kind: 'superseded' is no longer a value (newer consumer)"),
    (require_an_optional_field, "$.evidence: now required (newer consumer)"),
    (let_a_field_be_absent, "$.rule_hash: no longer required (older consumer)"),
    (refuse_null, "$.value: null is no longer accepted (newer consumer)"),
    (accept_null, "$.threshold: null is new (older consumer)"),
    (shorten_a_text, "$.trigger_id: maxLength 512 became 100 (newer consumer)"),
    (lengthen_a_text, "$.trigger_id: maxLength 512 became 1000 (older consumer)"),
    (bound_a_number, "$.threshold: minimum None became 0 (newer consumer)"),
    (change_a_pattern, "$.component: pattern ^[A-Za-z0-9][A-Za-z0-9_.-]*$ became ^[a-z]+$ (both)"),
    (change_what_a_list_or_mapping_holds, "$.group.*: integer is new (older consumer)"),
    (remove_a_field_of_a_part, "$.evidence.samples: removed or renamed (older consumer)"),
]


@pytest.mark.parametrize(("plant", "found"), BREAKS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_break_is_found(plant: Callable[[Json], None], found: str) -> None:
    old = TriggerEvent.model_json_schema()
    new = copy.deepcopy(old)
    plant(new)
    assert found in [str(change) for change in breaking_changes(old, new)]


def add_an_optional_field(schema: Json) -> None:
    schema["properties"]["runbook"] = {"type": "string", "default": ""}


def add_a_kind(schema: Json) -> None:
    schema["properties"]["kind"]["enum"].append("predicted")


def describe_better(schema: Json) -> None:
    schema["properties"]["threshold"]["description"] = "The number compared with."


@pytest.mark.parametrize("change", [add_an_optional_field, add_a_kind, describe_better])
def test_a_compatible_change_is_none(change: Callable[[Json], None]) -> None:
    old = TriggerEvent.model_json_schema()
    new = copy.deepcopy(old)
    change(new)
    assert breaking_changes(old, new) == []


def test_a_new_command_is_compatible_and_a_missing_one_is_not() -> None:
    old = json_schemas()["commands"]
    fewer = copy.deepcopy(old)
    fewer["anyOf"] = [item for item in fewer["anyOf"] if not item["$ref"].endswith("PauseCommand")]
    assert breaking_changes(fewer, old) == []
    assert [str(change) for change in breaking_changes(old, fewer)] == [
        "$: kind pause is no longer accepted (newer consumer)"
    ]


def test_a_new_kind_of_record_is_compatible_and_a_missing_one_is_not() -> None:
    old = json_schemas()["metrics"]
    fewer = copy.deepcopy(old)
    fewer["anyOf"] = [item for item in fewer["anyOf"] if not item["$ref"].endswith("ReleaseRecord")]
    assert breaking_changes(fewer, old) == []
    assert [str(change) for change in breaking_changes(old, fewer)] == [
        "$: ReleaseRecord is no longer accepted (newer consumer)"
    ]
