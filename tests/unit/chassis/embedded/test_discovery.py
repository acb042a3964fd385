"""Finding the ``backout up`` that runs here, and not believing one that has gone."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from chassis.embedded.discovery import RunInfo, read_run_file, remove_run_file, run_file, write_run_file
from chassis.embedded.process_identity import ProcessIdentity
from chassis.settings import load_settings


@pytest.fixture
def info() -> RunInfo:
    """What this very process would publish."""
    dsn = "postgresql://backout:secret@127.0.0.1:2/backout"
    return RunInfo(ProcessIdentity.own(), "127.0.0.1:1", dsn, {"monitor": 8001})


def test_what_is_written_is_read(tmp_path: Path, info: RunInfo) -> None:
    write_run_file(tmp_path, info)
    assert read_run_file(tmp_path) == info


def test_only_the_owner_may_read_the_password(tmp_path: Path, info: RunInfo) -> None:
    write_run_file(tmp_path, info)
    assert run_file(tmp_path).stat().st_mode & 0o077 == 0


def test_a_process_that_has_gone_is_not_believed(tmp_path: Path, info: RunInfo) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = ProcessIdentity.of(child.pid)
        assert identity is not None
        write_run_file(tmp_path, replace(info, owner=identity))
        assert read_run_file(tmp_path) is not None
        child.kill()
    assert read_run_file(tmp_path) is None


def test_another_process_with_the_same_id_is_not_believed(tmp_path: Path, info: RunInfo) -> None:
    write_run_file(tmp_path, replace(info, owner=replace(info.owner, started="another boot/1")))
    assert read_run_file(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1, "started": "1"}'])
def test_an_unreadable_file_is_as_none(tmp_path: Path, text: str) -> None:
    run_file(tmp_path).write_text(text)
    assert read_run_file(tmp_path) is None


def test_removing_it_twice_is_well(tmp_path: Path, info: RunInfo) -> None:
    write_run_file(tmp_path, info)
    remove_run_file(tmp_path)
    remove_run_file(tmp_path)
    assert read_run_file(tmp_path) is None


def test_settings_take_what_is_not_set_from_the_running_one(
    tmp_path: Path, info: RunInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKOUT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("BACKOUT_SETTINGS_FILE", os.devnull)
    monkeypatch.setenv("BACKOUT_KAFKA__BOOTSTRAP_SERVERS", "kafka.example:9092")
    write_run_file(tmp_path, info)

    found = load_settings()

    assert found.bootstrap_servers == "kafka.example:9092"
    assert found.postgres_dsn == info.dsn
    assert load_settings(discover=False).postgres.dsn is None
