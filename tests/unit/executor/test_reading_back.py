"""What a newer release wrote is read where it says nothing new, and refused by name where it does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from services.executor.domain import playbook as playbooks
from services.executor.domain.playbook import (
    HttpCall,
    HttpCheck,
    Limit,
    Playbook,
    Process,
    ProcessCheck,
    Step,
    Undo,
    Validate,
    Wait,
)
from services.executor.domain.reading_back import NotUnderstood, read_back, says_nothing

CALL = HttpCall(method="PUT", url="{target.x}/a", body={"to": False, "note": None}, honours=("epoch",))
CHECK = HttpCheck(url="{target.x}/a", expect_json={"to": False})
BOOK = Playbook(
    name="extractor",
    deadline_s=60,
    require=(CHECK,),
    steps=(
        Step(
            id="one",
            description="",
            action=CALL,
            observe=CHECK,
            undo=Undo(action=CALL, observe=ProcessCheck(argv=("see",))),
            timeout_s=1,
        ),
        Step(id="two", description="", action=Process(argv=("run",)), timeout_s=1),
        Step(id="three", description="", action=Wait(seconds=0), timeout_s=1),
        Step(
            id="four",
            description="",
            action=Validate(suite="s", call=CALL, limits=(Limit(name="a", path="a", at_least=0.0),)),
            timeout_s=1,
        ),
    ),
    on_failure="other",
)
HOLDERS: dict[str, tuple[str | int, ...]] = {
    "playbook": (),
    "require": ("require", 0),
    "step": ("steps", 0),
    "action": ("steps", 0, "action"),
    "observe": ("steps", 0, "observe"),
    "undo": ("steps", 0, "undo"),
    "undo's action": ("steps", 0, "undo", "action"),
    "undo's check": ("steps", 0, "undo", "observe"),
    "process": ("steps", 1, "action"),
    "retry": ("steps", 1, "retry"),
    "limit": ("steps", 3, "action", "limits", 0),
    "suite's call": ("steps", 3, "action", "call"),
}


def document() -> Any:
    return json.loads(BOOK.model_dump_json())


def within(root: Any, way: tuple[str | int, ...]) -> Any:
    for part in way:
        root = root[part]
    return root


def test_what_this_release_wrote_comes_back() -> None:
    assert read_back(Playbook, document()) == BOOK


@pytest.mark.parametrize("way", HOLDERS.values(), ids=HOLDERS.keys())
@pytest.mark.parametrize("value", [None, False, "", [], {}], ids=str)
def test_a_new_field_that_says_nothing_is_passed_over(way: tuple[str | int, ...], value: object) -> None:
    written = document()
    within(written, way)["new"] = value
    kept = json.dumps(written)
    assert read_back(Playbook, written) == BOOK
    assert json.dumps(written) == kept


@pytest.mark.parametrize("way", HOLDERS.values(), ids=HOLDERS.keys())
@pytest.mark.parametrize("value", [True, 0, "x", [None], {"a": None}], ids=str)
def test_one_that_says_something_is_refused_by_its_name(way: tuple[str | int, ...], value: object) -> None:
    written = document()
    within(written, way)["new"] = value
    with pytest.raises(NotUnderstood, match=r"playbook_not_understood: .*new is not known to this release"):
        read_back(Playbook, written)


def test_several_fields_are_told_together_and_those_that_say_nothing_are_not() -> None:
    written = document()
    for step in written["steps"]:
        step.update(window="night", owner=None)
    written["tenants"] = ["a"]
    with pytest.raises(NotUnderstood) as raised:
        read_back(Playbook, written)
    assert str(raised.value) == (
        "playbook_not_understood: steps.0.window is not known to this release; "
        "steps.1.window is not known to this release; steps.2.window is not known to this release and 2 more"
    )


@pytest.mark.parametrize(
    ("way", "field", "value"),
    [
        ((), "mode", "canary"),
        (("steps", 0, "action"), "method", "MERGE"),
        (("steps", 0, "action"), "kind", "kubernetes.patch"),
        (("steps", 0, "action"), "honours", ["fences"]),
        (("steps", 1, "retry"), "attempts", 50),
        ((), "steps", "all"),
    ],
)
def test_a_known_field_with_a_new_meaning_is_refused(
    way: tuple[str | int, ...], field: str, value: object
) -> None:
    written = document()
    within(written, way)[field] = value
    with pytest.raises(NotUnderstood, match=r"playbook_not_understood: .*" + field):
        read_back(Playbook, written)


def test_a_field_that_is_gone_though_it_is_needed_is_refused() -> None:
    written = document()
    del written["steps"][0]["timeout_s"]
    with pytest.raises(NotUnderstood, match=r"steps\.0\.timeout_s: Field required"):
        read_back(Playbook, written)


FIRST_FIELDS = {
    "HttpCall": {"kind", "method", "url", "body", "expect_status", "honours"},
    "HttpCheck": {"kind", "url", "status", "expect_json"},
    "Process": {"kind", "argv", "repeatable"},
    "ProcessCheck": {"kind", "argv"},
    "Wait": {"kind", "seconds"},
    "Limit": {"name", "path", "at_least", "at_most", "unit"},
    "Validate": {"kind", "suite", "call", "limits"},
    "Retry": {"attempts", "backoff_s"},
    "Undo": {"action", "observe"},
    "Step": {
        *("id", "description", "action", "observe", "undo"),
        *("timeout_s", "retry", "irreversible", "usually_s"),
    },
    "Playbook": {"name", "mode", "deadline_s", "preserves_data", "require", "steps", "on_failure"},
}


def test_every_field_that_was_added_says_nothing_unless_somebody_writes_it() -> None:
    """An executor of before passes it over then, and would leave every rollback to others otherwise."""
    models = {
        name: model
        for name, model in vars(playbooks).items()
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == playbooks.__name__
    }
    for name, first in FIRST_FIELDS.items():
        fields = models[name].model_fields
        assert first <= fields.keys()
        for added in fields.keys() - first:
            assert says_nothing(fields[added].get_default(call_default_factory=True)), f"{name}.{added}"
