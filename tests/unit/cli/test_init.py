"""``backout init``: what it writes can be loaded, tested and planned as it stands; nothing is overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chassis.settings import Settings, load_settings
from cli import main as command
from cli.doctor import Status, configuration_files


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with nothing in it and nothing set."""
    for name in [name for name in os.environ if name.startswith("BACKOUT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["backout", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    return int(ended.value.code or 0)


def _contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("component", ["checkout", "shop.check-out_2", "1.0"])
def test_what_it_writes_is_right_as_it_stands(
    component: str, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "init", component, "--target", "http://127.0.0.1:8080/api") == 0
    said = capsys.readouterr().out
    settings: Settings = load_settings(discover=False)
    assert [*settings.executor.targets.values()] == ["http://127.0.0.1:8080/api"]
    found = list(configuration_files(settings))
    # Nobody can be told before a token is set.
    assert [item.check for item in found if item.status is not Status.OK] == ["receivers"]
    for line in said.partition("Next:\n")[2].splitlines()[:3]:
        assert run(monkeypatch, *line.split()[1:]) == 0, line
    shown = capsys.readouterr().out
    assert "(critical) → rollback {component}" in shown
    assert "3 passed, 0 failed" in shown
    assert f"Plan for {component} (shadow" in shown
    written = b"".join(_contents(directory).values())
    assert not [word for word in (b"COMPONENT", b"TARGET", b"ADDRESS") if word in written]


def test_nothing_is_overwritten(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = directory / "elsewhere" / "config" / "targets.yml"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    assert run(monkeypatch, "init", "checkout", "--directory", "elsewhere") == 2
    assert "nothing was written, for there is already elsewhere/config/targets.yml" in capsys.readouterr().err
    assert _contents(directory) == {str(kept): b"mine"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a b",), "'a b': letters, digits"),
        (("a", "--target", "host:80"), "--target host:80: write http://host:port"),
        (("a", "--target", 'http://x"y'), "write http://host:port"),
        (("a", "--directory", "/proc/none"), "cannot write /proc/none/backout.toml"),
    ],
)
def test_wrong_use_is_named(
    arguments: tuple[str, ...],
    words: str,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "init", *arguments) == 2
    assert words in capsys.readouterr().err
    assert _contents(directory) == {}
