"""Progress is for terminals: a bar on stderr where that is one, and nothing in a pipe."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from chassis.settings import without_settings

RULES = 'triggers: [{name: slow, metric: ms, when: "> 100", for: 3s, staleness: 10s}]\n'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "targets.yml").write_text('default: "{component}"\n')
    (tmp_path / "rules.yml").write_text(RULES)
    lines = [
        json.dumps({"metric": "ms", "component": "a", "value": 150, "time": 1_767_225_600 + at})
        for at in range(100)
    ]
    (tmp_path / "samples.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def _stderr_on_a_terminal(directory: Path, *arguments: str, **environment: str) -> str:
    """What a backtest writes to stderr when that is a terminal."""
    leader, follower = pty.openpty()
    argv = [sys.executable, "-m", "cli.main", "triggers", "backtest", "--rules", "rules.yml"]
    argv += ["--input", "samples.jsonl", *arguments]
    own = without_settings() | {
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        "TERM": "xterm",
        **environment,
    }
    process = subprocess.Popen(argv, cwd=directory, env=own, stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        while more := os.read(leader, 65_536):
            shown += more
    except OSError:
        # Linux says so when the last writer has gone.
        pass
    finally:
        os.close(leader)
        assert process.wait(30) == 0, shown
    return shown.decode()


def test_a_bar_on_a_terminal(directory: Path) -> None:
    shown = _stderr_on_a_terminal(directory)
    assert "bytes" in shown
    assert "\x1b[" in shown
    assert "100 samples, 0 late" in shown


def test_no_colour_where_none_is_wanted(directory: Path) -> None:
    coloured = "\x1b[32m"
    assert coloured in _stderr_on_a_terminal(directory, NO_COLOR="")
    plain = _stderr_on_a_terminal(directory, NO_COLOR="1")
    assert "bytes" in plain
    assert coloured not in plain


def test_none_where_none_is_wanted(directory: Path) -> None:
    shown = _stderr_on_a_terminal(directory, "--no-progress")
    assert "bytes" not in shown
    assert "\x1b" not in shown
