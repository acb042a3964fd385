"""A state directory that cannot be used ends in a message, not in a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from chassis.embedded.errors import EmbeddedError
from chassis.embedded.postgres import EmbeddedPostgres
from chassis.embedded.process_group import ProcessGroup
from examples.demo.__main__ import main


def _refused(*_: object, **__: object) -> NoReturn:
    raise PermissionError(13, "Permission denied")


def test_what_a_run_of_another_user_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "postgres").mkdir()
    monkeypatch.setattr(shutil, "rmtree", _refused)
    assert main(["--state-dir", str(tmp_path)]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "cannot clear" in said
    assert "or name another with --state-dir" in said


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "data").write_text("in the way")
    with ProcessGroup(tmp_path) as group, pytest.raises(EmbeddedError) as raised:
        EmbeddedPostgres(tmp_path / "postgres", group=group).start()
    assert "File exists" in str(raised.value)
    assert "BACKOUT_STATE_DIR" in str(raised.value)
