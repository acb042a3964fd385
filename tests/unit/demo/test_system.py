"""What the processes of a demo get of the caller's environment."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from chassis.embedded.process_group import ProcessGroup
from chassis.settings import load_settings
from examples.demo.infrastructure import Infrastructure
from examples.demo.system import System


def test_no_setting_of_the_caller_reaches_a_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "show.py").write_text("import json, os; print(json.dumps(dict(os.environ)))")
    (tmp_path / "backout.toml").write_text("[kafka]\nnamespace = 'of-the-file.'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BACKOUT_KAFKA__NAMESPACE", "of-the-caller.")
    monkeypatch.setenv("BACKOUT_POSTGRES__DSN_FILE", "absent")
    monkeypatch.setenv("DOCRAG_FAILPOINT", "of-the-caller")
    monkeypatch.setenv("OF_THE_MACHINE", "kept")
    own = {"PYTHONPATH": str(tmp_path), "BACKOUT_INSTANCE": "demo"}
    (tmp_path / "logs").mkdir()
    with ProcessGroup(tmp_path) as group:
        system = System(Infrastructure("nowhere:9092", "postgresql://nowhere/"), group, tmp_path)
        assert system.spawn("show", ["show"], own).popen.wait(30) == 0, system.log_tail("show")
    got = json.loads((tmp_path / "logs" / "show.log").read_text())
    assert got["OF_THE_MACHINE"] == "kept"
    settings = {name: value for name, value in got.items() if name.startswith(("BACKOUT_", "DOCRAG_"))}
    assert settings == {"BACKOUT_INSTANCE": "demo", "BACKOUT_SETTINGS_FILE": os.devnull}

    # With what it got, a service does not read the file that lies there either.
    for name in [name for name in os.environ if name.startswith("BACKOUT_")]:
        monkeypatch.delenv(name)
    assert load_settings(discover=False).kafka.namespace == "of-the-file."
    monkeypatch.setenv("BACKOUT_SETTINGS_FILE", settings["BACKOUT_SETTINGS_FILE"])
    assert load_settings(discover=False).kafka.namespace == ""
