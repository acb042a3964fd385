"""The command line's promises: messages, not tracebacks, and exit statuses that scripts can use."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from chassis.errors import UsageError
from chassis.settings import SERVICES
from cli import main as command
from cli.infrastructure import chosen_services
from cli.output import clock, write_json, write_table


@pytest.fixture
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with nothing in it and nothing set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BACKOUT_DEBUG", raising=False)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit status of ``backout ARGUMENTS``."""
    monkeypatch.setattr("sys.argv", ["backout", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    return int(ended.value.code or 0)


def modules_after(statements: str) -> set[str]:
    """What a new interpreter has imported."""
    code = f"{statements}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("topics", "list"), "BACKOUT_KAFKA__BOOTSTRAP_SERVERS: no Kafka is set"),
        (("topics", "lag"), "or run `backout up` here"),
        (("metrics", "publish", "x.jsonl"), "no Kafka is set"),
        (("run", "montior"), "there is no service 'montior'. Name one of monitor, executor"),
        (("up", "--only", "everything"), "there is no service everything"),
        (("breakers", "list"), "no Kafka is set"),
        (("predictions", "score"), "no Kafka is set"),
        (("breakers", "check"), "there is no file config/breakers.yml"),
    ],
)
@pytest.mark.usefixtures("empty_directory")
def test_wrong_use_is_a_message_and_status_2(
    arguments: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("backout: ")
    assert words in shown.err
    assert shown.out == ""


@pytest.mark.usefixtures("empty_directory")
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BACKOUT_KAFKA__SESSION_TIMEOUT_MS", "soon")
    assert run(monkeypatch, "topics", "list") == 2
    assert "BACKOUT_KAFKA__SESSION_TIMEOUT_MS" in capsys.readouterr().err


def test_a_broken_settings_file_is_named(
    empty_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_directory / "backout.toml").write_text("[kafka\n")
    assert run(monkeypatch, "down") == 2
    assert "backout.toml" in capsys.readouterr().err


@pytest.mark.usefixtures("empty_directory")
def test_an_unexpected_error_is_one_line_unless_debugging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(command, "app", broken)
    assert run(monkeypatch) == 1
    assert capsys.readouterr().err == (
        "backout: unexpected error: ZeroDivisionError: no such luck. BACKOUT_DEBUG=1 shows where it arose\n"
    )
    monkeypatch.setenv("BACKOUT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        command.main()


@pytest.mark.usefixtures("empty_directory")
def test_down_where_nothing_runs_is_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "down") == 0
    assert capsys.readouterr().out == "Nothing was running in .backout.\n"


@pytest.mark.parametrize("arguments", [("--help",), ("up", "--help"), ("topics", "--help"), ("--version",)])
def test_help_and_version(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *arguments) == 0


def test_services_start_in_the_order_of_the_data_whatever_the_order_asked_for() -> None:
    assert chosen_services(None) == SERVICES
    assert chosen_services("executor, monitor") == ("monitor", "executor")
    assert chosen_services("none") == ()
    with pytest.raises(UsageError, match="--only"):
        chosen_services("monitor,analyser")


@pytest.mark.usefixtures("empty_directory")
@pytest.mark.parametrize(
    ("typed", "meant"),
    [(("rolback",), "'rollback'"), (("incidnts", "list"), "'incidents'"), (("dwn",), "'down'")],
)
def test_a_typing_mistake_is_offered_what_was_meant(
    typed: tuple[str, ...],
    meant: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *typed) == 2
    assert f"Did you mean {meant}" in capsys.readouterr().err


def test_help_is_as_wide_as_the_terminal_and_not_as_the_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, "rollback", "--help") == 0
    assert "1 when it ended otherwise, 2 when there is no playbook" in capsys.readouterr().out


def test_what_every_command_imports_is_little() -> None:
    """An interrupt during the imports of a command is an interrupt of it; before, it is a traceback."""
    assert not {"aiokafka", "asyncpg", "numpy", "pydantic"} & modules_after("import cli.main")


def test_json_has_times_by_rfc_3339_and_a_table_the_same_in_one_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = datetime(2026, 1, 1, 1, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
    write_json({"at": at})
    assert json.loads(capsys.readouterr().out) == {"at": "2026-01-01T00:00:00.250000Z"}
    assert clock(at) == "2026-01-01T00:00:00Z"
    assert clock(None) is None


def test_a_table_is_aligned_and_shows_what_is_absent(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("NAME", "LAG"), [("a-long-name", 3), ("b", None)])
    assert capsys.readouterr().out == "NAME         LAG\na-long-name  3\nb            -\n"


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    write_json([{"path": Path("x"), "lag": None}])
    assert json.loads(capsys.readouterr().out) == [{"path": "x", "lag": None}]


def test_a_service_starts_without_the_modules_of_the_other_commands() -> None:
    loaded = modules_after("import cli.main; import cli.infrastructure")
    assert {"cli.infrastructure", "chassis.kafka"} <= loaded
    assert not {name for name in loaded if name.startswith("services.")}
    assert not loaded & {"cli.triggers", "cli.doctor", "numpy", "pyarrow"}


@pytest.mark.parametrize("name", [*command.Commands.modules])
def test_every_command_can_be_called(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert run(monkeypatch, name, "--help") == 0
    shown = capsys.readouterr()
    assert f"backout {name}" in shown.out
    assert shown.err == ""
