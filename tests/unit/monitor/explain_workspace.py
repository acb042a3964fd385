"""A directory with triggers and recorded samples, in which ``triggers explain`` is run as people run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.triggers import app


def enter_workspace(directory: Path, monkeypatch: pytest.MonkeyPatch, rules: str, samples: bytes) -> Path:
    """Put ``rules`` and ``samples.jsonl`` into the directory, and go there, with no setting from outside."""
    (directory / "config" / "rollback").mkdir(parents=True)
    (directory / "config" / "targets.yml").write_text('default: "{component}"\n')
    (directory / "config" / "rollback" / "triggers.yml").write_text(rules)
    (directory / "samples.jsonl").write_bytes(samples)
    monkeypatch.chdir(directory)
    for name in ("BACKOUT_CONFIG_DIR", "BACKOUT_MONITOR__ALLOWED_LATENESS_S"):
        monkeypatch.delenv(name, raising=False)
    return directory


def run_explain(*arguments: str, source: str = "samples.jsonl") -> Result:
    return CliRunner().invoke(app, ["explain", *arguments, "--input", source])


def json_of(result: Result) -> Any:
    assert result.exit_code == 0, result.output + repr(result.exception)
    return json.loads(result.stdout)
