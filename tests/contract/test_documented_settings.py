"""docs/settings.md names every setting with its default, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from chassis.settings import Settings

TEXT = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
OF_THE_MACHINE = {"instance": "the host's name"}


def every(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from every(kind, f"{before}{name}.")
        else:
            yield before + name, field


def in_words(name: str, field: FieldInfo) -> str:
    if name in OF_THE_MACHINE:
        return OF_THE_MACHINE[name]
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if value == "":
        return "empty"
    return f"`{value}`" if isinstance(value, str | Path) else f"`{json.dumps(value)}`"


def test_the_tables_name_every_setting_with_its_default() -> None:
    documented = dict(re.findall(r"^\| `([a-z0-9_.]+)` \| (.+?) \| .+ \|$", TEXT, re.MULTILINE))
    assert documented == {name: in_words(name, field) for name, field in every(Settings)}


def test_no_setting_is_named_twice() -> None:
    documented = re.findall(r"^\| `([a-z0-9_.]+)` \|", TEXT, re.MULTILINE)
    assert len(documented) == len(set(documented))
