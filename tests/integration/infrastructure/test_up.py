"""``backout up`` and ``down``: as a person runs them, interrupts them, and kills them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from chassis.embedded.discovery import RunInfo, read_run_file
from tests.integration.conftest import COMMAND, clean_environment, run_backout
from tests.polling import alive, poll_until


@contextmanager
def up(directory: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """``backout up`` in ``directory``; killed at the end if it still runs."""
    process = subprocess.Popen(
        [*COMMAND, "up", *arguments],
        cwd=directory,
        env=clean_environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def until_ready(process: subprocess.Popen[str], directory: Path) -> RunInfo:
    """Read its lines until it says that it is ready."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("up ") and "| ready:" in line:
            info = read_run_file(directory / ".backout")
            assert info is not None
            return info
    raise AssertionError("it ended: " + "".join(said))


def descendants(process: subprocess.Popen[str]) -> list[int]:
    """All processes below ``process``."""
    return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]


def accepts(address: str) -> bool:
    """Whether something listens at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except OSError:
        return False


def test_up_serves_commands_in_its_directory_until_down(tmp_path: Path) -> None:
    ingest = {"BACKOUT_MONITOR__INGEST__OTLP__ENABLED": "true"}
    env = clean_environment(**ingest)
    with up(tmp_path, "--only", "none", **ingest) as process:
        info = until_ready(process, tmp_path)
        pids = descendants(process)
        group = {os.getpgid(pid) for pid in pids if psutil.Process(pid).name() in ("java", "python3")}

        listed = run_backout("topics", "list", "-o", "json", cwd=tmp_path, env=env)
        init = run_backout("topics", "init", cwd=tmp_path, env=env)
        second = run_backout("up", "--only", "none", cwd=tmp_path, env=env)
        down = run_backout("down", cwd=tmp_path, env=env)
        process.wait(30)

    assert {topic["state"] for topic in json.loads(listed.out)} == {"as defined"}
    assert (init.status, init.err) == (0, ""), "it has created the topic that ingest reads, too"
    assert second.status == 1
    assert f"in use by the running process {process.pid}" in second.err
    assert "Traceback" not in second.err
    assert (down.status, process.returncode) == (0, 0)
    assert len(group) == 1
    assert not any(alive(pid) for pid in pids)
    assert not accepts(info.bootstrap_servers)
    assert read_run_file(tmp_path / ".backout") is None
    again = run_backout("down", cwd=tmp_path, env=env)
    assert (again.status, again.out) == (0, "Nothing was running in .backout.\n")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_everything(
    tmp_path: Path, given_kafka: dict[str, str], how: signal.Signals
) -> None:
    with up(tmp_path, "--only", "none", **given_kafka) as process:
        until_ready(process, tmp_path)
        pids = descendants(process)
        process.send_signal(how)
        assert process.wait(30) == 0
    assert not any(alive(pid) for pid in pids)


def test_an_interrupt_during_the_start_stops_everything(tmp_path: Path) -> None:
    with up(tmp_path, "--only", "none") as process:
        assert process.stdout is not None
        assert "Postgres: start" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(60) == 0
    record = tmp_path / ".backout" / "processes.json"
    assert not record.exists()


def test_down_stops_an_up_that_is_still_starting(tmp_path: Path, given_kafka: dict[str, str]) -> None:
    with up(tmp_path, "--only", "none", **given_kafka) as process:
        assert process.stdout is not None
        assert "Postgres: start" in process.stdout.readline()
        down = run_backout("down", cwd=tmp_path, env=clean_environment())
        process.stdout.read()
        assert process.wait(10) == 0
    assert (down.status, down.out) == (0, "Stopped the backout of .backout.\n")


def test_killing_up_leaves_no_process_and_a_clean_start(tmp_path: Path, given_kafka: dict[str, str]) -> None:
    with up(tmp_path, "--only", "none", **given_kafka) as process:
        until_ready(process, tmp_path)
        pids = descendants(process)
        process.kill()
        poll_until(lambda: not any(alive(pid) for pid in pids), timeout_s=30)

    with up(tmp_path, "--only", "none", **given_kafka) as again:
        until_ready(again, tmp_path)
        assert run_backout("down", cwd=tmp_path, env=clean_environment()).status == 0


def test_down_clears_what_a_killed_up_and_watchdog_left(tmp_path: Path, given_kafka: dict[str, str]) -> None:
    with up(tmp_path, "--only", "none", **given_kafka) as process:
        until_ready(process, tmp_path)
        pids = descendants(process)
        record = json.loads((tmp_path / ".backout" / "processes.json").read_text())
        os.kill(record["processes"][0]["pid"], signal.SIGKILL)
        process.kill()
    cleared = run_backout("down", cwd=tmp_path, env=clean_environment())

    (postmaster,) = [item["pid"] for item in record["processes"][1:]]
    assert (cleared.status, cleared.out) == (0, f"Cleared what a killed run had left: {postmaster}.\n")
    poll_until(lambda: not any(alive(pid) for pid in pids))


def test_two_directories_do_not_meet(tmp_path: Path) -> None:
    directories = [tmp_path / "a", tmp_path / "b"]
    for directory in directories:
        directory.mkdir()
    with up(directories[0], "--only", "none") as first, up(directories[1], "--only", "none") as second:
        infos = [until_ready(first, directories[0]), until_ready(second, directories[1])]
        assert infos[0].bootstrap_servers != infos[1].bootstrap_servers
        assert infos[0].dsn != infos[1].dsn
        assert run_backout("down", cwd=directories[0], env=clean_environment()).status == 0
        assert first.wait(30) == 0
        assert second.poll() is None
        assert accepts(infos[1].bootstrap_servers)


def test_the_end_of_a_server_ends_up(tmp_path: Path, given_kafka: dict[str, str]) -> None:
    with up(tmp_path, "--only", "none", **given_kafka) as process:
        until_ready(process, tmp_path)
        (postmaster,) = [
            child.pid
            for child in psutil.Process(process.pid).children()
            if "postgres" in " ".join(child.cmdline()) and "-D" in child.cmdline()
        ]
        os.kill(postmaster, signal.SIGKILL)
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait(60) == 1
    assert "backout: postgres was killed by signal 9" in said
    assert "Traceback" not in said


def test_a_service_that_does_not_exist_is_a_wrong_use(tmp_path: Path) -> None:
    ran = run_backout("up", "--only", "monitor,montior", cwd=tmp_path, env=clean_environment())
    assert ran.status == 2
    assert ran.err.startswith("backout: --only: there is no service montior.")
    assert not (tmp_path / ".backout").exists()
