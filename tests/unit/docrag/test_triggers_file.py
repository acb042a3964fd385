"""The demonstration's triggers are the shipped ones, sooner."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]


def _without_for(path: str) -> list[dict[str, Any]]:
    triggers = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))["triggers"]
    return [{key: value for key, value in trigger.items() if key != "for"} for trigger in triggers]


def test_they_differ_from_the_shipped_triggers_in_for_alone() -> None:
    demonstration = ROOT / "examples/docrag/triggers.yml"
    assert _without_for("examples/docrag/triggers.yml") == _without_for("config/rollback/triggers.yml")
    triggers = yaml.safe_load(demonstration.read_text(encoding="utf-8"))["triggers"]
    assert {trigger["for"] for trigger in triggers} == {"10s"}
    assert "for: 10s" in demonstration.read_text(encoding="utf-8").splitlines()[0]


def test_the_sample_shares_no_code_with_what_protects_it() -> None:
    own = {"schemas", "chassis", "services", "cli"}
    for path in (ROOT / "examples/docrag").glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]):
                assert words[1].split(".")[0] not in own, f"{path.name}: {line}"
