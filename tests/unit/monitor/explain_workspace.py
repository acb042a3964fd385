"""A directory with triggers and recorded samples, in which ``triggers explain`` is run as people run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.triggers import app
from tests.unit.monitor.workspace import enter


def enter_workspace(directory: Path, monkeypatch: pytest.MonkeyPatch, rules: str, samples: bytes) -> Path:
    """Put ``rules`` and ``samples.jsonl`` into the directory, and go there, with no setting from outside."""
    (directory / "samples.jsonl").write_bytes(samples)
    return enter(directory, monkeypatch, rules, at="config/rollback/triggers.yml")


def run_explain(*arguments: str, source: str = "samples.jsonl") -> Result:
    return CliRunner().invoke(app, ["explain", *arguments, "--input", source])


def json_of(result: Result) -> Any:
    assert result.exit_code == 0, result.output + repr(result.exception)
    return json.loads(result.stdout)


def explain_json(*arguments: str) -> Any:
    """What ``triggers explain`` answers a script."""
    return json_of(run_explain(*arguments, "-o", "json"))
