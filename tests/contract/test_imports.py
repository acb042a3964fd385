"""The dependency rule holds, and each of its contracts fails when it is broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "chassis", "services", "cli", "backout_client", "examples")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The Python files of the repository and the contracts about them."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def lint(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, check=False)


def test_the_rule_holds(copy: Path) -> None:
    result = lint(copy)
    assert result.returncode == 0, result.stdout


VIOLATIONS = [
    ("layers", "chassis/clock.py", "import services.monitor.domain"),
    ("layers", "schemas/envelope.py", "import chassis.errors"),
    ("layers", "services/executor/handlers/__init__.py", "import cli"),
    ("product", "services/notifier/adapters/__init__.py", "import examples.receivers"),
    ("product", "services/monitor/adapters/__init__.py", "import backout_client"),
    ("client", "backout_client/__init__.py", "import schemas.breakers"),
    ("client", "backout_client/reading.py", "import pydantic"),
    ("services", "services/notifier/handlers/__init__.py", "import services.executor.domain"),
    ("inside", "services/monitor/domain/__init__.py", "import services.monitor.adapters"),
    ("inside", "services/analyzer/handlers/__init__.py", "import services.analyzer.adapters"),
    ("inside", "services/executor/adapters/__init__.py", "import services.executor.main"),
    (
        "engine",
        "services/monitor/domain/language/__init__.py",
        "import services.monitor.domain.engine",
    ),
    (
        "engine",
        "services/monitor/domain/engine/__init__.py",
        "import services.monitor.domain.trials",
    ),
    (
        "aggregates",
        "services/monitor/domain/measuring/aggregates/count.py",
        "import services.monitor.domain.measuring.aggregates.last",
    ),
    (
        "registry",
        "services/monitor/domain/measuring/lane_bank.py",
        "import services.monitor.domain.measuring.aggregates.last",
    ),
    ("domain", "services/executor/domain/__init__.py", "import asyncio"),
    ("domain", "services/analyzer/domain/__init__.py", "import logging"),
    ("domain", "services/monitor/domain/__init__.py", "import chassis.errors"),
    ("schemas", "schemas/envelope.py", "import asyncio"),
    ("schemas", "schemas/registry.py", "import pathlib"),
    ("kafka", "services/monitor/adapters/__init__.py", "import aiokafka"),
    ("faust", "services/executor/adapters/__init__.py", "import faust"),
    ("slack", "services/notifier/handlers/__init__.py", "import slack_sdk"),
    ("parquet", "services/monitor/handlers/__init__.py", "import pyarrow"),
    ("sample", "examples/docrag/__init__.py", "import schemas.metrics"),
    ("sample", "examples/receivers/__init__.py", "import chassis.clock"),
]


@pytest.mark.parametrize(("contract", "file", "statement"), VIOLATIONS)
def test_a_planted_violation_is_found(copy: Path, contract: str, file: str, statement: str) -> None:
    with (copy / file).open("a") as module:
        module.write(f"\n{statement}\n")
    result = lint(copy, "--contract", contract)
    assert result.returncode == 1, result.stdout
    assert "BROKEN" in result.stdout


def test_a_module_beside_the_parts_of_a_service_is_found(copy: Path) -> None:
    (copy / "services" / "monitor" / "engine.py").write_text("")
    result = lint(copy, "--contract", "inside")
    assert result.returncode == 1, result.stdout
    assert "engine" in result.stdout


def test_every_contract_has_a_planted_violation() -> None:
    lines = (ROOT / ".importlinter").read_text().splitlines()
    named = {line.split(":")[2].rstrip("]") for line in lines if line.startswith("[importlinter:contract:")}
    assert named == {contract for contract, _, _ in VIOLATIONS}
