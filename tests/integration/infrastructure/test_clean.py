"""``make clean``, in a checkout of its own: it stops what runs before it removes the files below it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo.leftovers import processes_of
from tests.integration.conftest import clean_environment

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory with the Makefile, and with the environment in which these tests run."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def test_a_demo_is_stopped_before_its_files_go(checkout: Path) -> None:
    state_dir = checkout / ".backout" / "demo"
    running = subprocess.Popen(
        [sys.executable, "-m", "examples.demo", "--keep", "--state-dir", str(state_dir)],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with running:
        try:
            assert running.stdout is not None
            said = next((line for line in running.stdout if "Postgres: start done" in line), None)
            assert said is not None, "it ended before Postgres was there"
            clean = subprocess.run(
                ["make", "clean"],
                cwd=checkout,
                env=clean_environment(),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            rest = running.stdout.read()
        finally:
            running.kill()
    assert clean.returncode == 0, clean.stderr
    assert "Stopped the backout of .backout/demo." in clean.stdout
    assert running.returncode == 130, rest
    assert "Traceback" not in rest
    assert processes_of(state_dir) == {}
    assert not (checkout / ".backout").exists()


def test_a_wrong_setting_keeps_nobody_from_cleaning_up(checkout: Path) -> None:
    for name in (".backout", ".docrag"):
        (checkout / name).mkdir()
    clean = subprocess.run(
        ["make", "clean"],
        cwd=checkout,
        env={**clean_environment(), "BACKOUT_KAFKA__SESSION_TIMEOUT_MS": "soon"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert clean.returncode == 0, clean.stderr
    assert not (checkout / ".backout").exists()
    assert not (checkout / ".docrag").exists()
