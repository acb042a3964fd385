"""The make targets that people and CI rely on, and what the environment's installer says."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = {"help", "install", "demo", "lint", "test", "unit", "bench", "torture", "schemas", "lock", "clean"}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """requirements/install.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.subprocess, "check_call", _must_not_run)
    return module


def _must_not_run(*command: object, **_: object) -> None:
    raise AssertionError(f"nothing is to be installed here: {command}")


def test_help_is_the_default_and_lists_every_target() -> None:
    result = make()
    assert result.returncode == 0, result.stderr
    assert set(re.findall(r"^  make (\S+)", result.stdout, re.MULTILINE)) == TARGETS


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (("demo",), "python -m examples.demo"),
        (("demo", "KEEP=1"), "python -m examples.demo --keep"),
        (("bench", "ONLY=monitor"), "for name in monitor;"),
        (("torture", "ONLY=executor"), "--only executor"),
        (("torture", "ONLY=analyzer-stream"), "python -m benchmarks.torture_analyzer"),
        (("torture", "ONLY=kills"), "python -m benchmarks.torture_monitor"),
        (("torture", "ONLY=broker"), "python -m benchmarks.broker_outage"),
        (("torture", "ONLY=leaders"), "python -m benchmarks.broker_leaders"),
        (("test", "ARGS=-k outbox"), "pytest -n 2 --dist worksteal -k outbox"),
        (("test", "JOBS=1"), "pytest -n 1 "),
    ],
)
def test_options_reach_what_they_are_for(arguments: tuple[str, ...], runs: str) -> None:
    result = make("--dry-run", *arguments)
    assert result.returncode == 0, result.stderr
    assert runs in result.stdout


def test_every_module_that_a_target_runs_is_there() -> None:
    text = (ROOT / "Makefile").read_text()
    [names] = re.findall(r"^BENCHMARKS := (.*)$", text, re.MULTILINE)
    modules = [*re.findall(r"python -m ([a-z.]+)(?= |$)", text, re.MULTILINE)]
    modules += [f"benchmarks.{name}" for name in names.split()]
    assert len(modules) >= 5
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    assert missing == []


def test_ci_runs_the_two_targets_and_stops_at_the_first_that_fails() -> None:
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in script if line.startswith("make ")] == ["make lint", "make test"]
    assert "set -euo pipefail" in script
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_a_python_that_is_too_old_is_told_so(installer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer, "OLDEST", (3, 99))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed, and .* make PYTHON="):
        installer.go_on_under_a_new_python()


def test_a_changed_lock_is_noticed(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in installer.INPUTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(installer, "ROOT", tmp_path)
    before = installer.wanted()
    assert installer.wanted() == before
    with (tmp_path / "requirements" / "dev.txt").open("a") as lock:
        lock.write("another==1.0\n")
    assert installer.wanted() != before


def test_an_environment_that_is_current_is_left_alone(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(installer, "VENV", Path(sys.prefix))
    monkeypatch.setattr(installer, "BIN", Path(sys.prefix) / "bin")
    monkeypatch.setattr(installer, "STAMP", tmp_path / "stamp")
    assert not installer.is_current()
    (tmp_path / "stamp").write_text(installer.wanted())
    assert installer.is_current()
    installer.main()


def test_an_environment_of_another_place_is_not_ours(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(installer, "VENV", tmp_path)
    monkeypatch.setattr(installer, "BIN", tmp_path / "bin")
    assert not installer.works()
