"""Supervised processes: their lines, their readiness, their ends."""

from __future__ import annotations

import io
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis.embedded.process_group import ProcessGroup
from chassis.supervisor import NotReady, ProcessDied, ProcessSpec, Supervisor, wants_colour
from tests.polling import alive, poll_until

# Answers /readyz with the status in its first argument, and says what it does.
SERVICE = textwrap.dedent(
    """
    import http.server, os, pathlib, sys
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(sys.argv[1]))
            self.end_headers()
            self.wfile.write(b"warming up")
        def log_message(self, *_):
            pass
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    print("listening", flush=True)
    path = pathlib.Path(os.environ["PORT_FILE"])
    path.with_suffix(".part").write_text(str(server.server_port))
    path.with_suffix(".part").replace(path)
    server.serve_forever()
    """
)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[ProcessGroup]:
    """An entered process group."""
    with ProcessGroup(tmp_path) as entered:
        yield entered


@pytest.fixture
def output() -> io.StringIO:
    """What the supervisor shows."""
    return io.StringIO()


@pytest.fixture
def supervisor(group: ProcessGroup, tmp_path: Path, output: io.StringIO) -> Iterator[Supervisor]:
    """A supervisor whose processes are stopped after the test."""
    made = Supervisor(group, tmp_path / "logs", output)
    yield made
    made.stop()


def spec(tmp_path: Path, name: str, program: str, *arguments: str) -> ProcessSpec:
    """A Python program as a supervised process."""
    port_file = tmp_path / f"{name}.port"
    env = {**os.environ, "PORT_FILE": str(port_file)}
    return ProcessSpec(name, [sys.executable, "-c", program, *arguments], env, port_file, stop_timeout_s=25.0)


def test_ready_means_that_readyz_answers_200(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.start(spec(tmp_path, "one", SERVICE, "200"))
    supervisor.start(spec(tmp_path, "two", SERVICE, "200"))
    assert supervisor.wait_until_ready(timeout_s=20, stop=lambda: False)
    assert all(supervisor.ports().values())


def test_one_that_is_not_ready_in_time_is_named_with_its_answer(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    supervisor.start(spec(tmp_path, "slow", SERVICE, "503"))
    poll_until(lambda: supervisor.ports()["slow"])
    with pytest.raises(NotReady, match="slow answers warming up"):
        supervisor.wait_until_ready(timeout_s=0.5, stop=lambda: False)


def test_waiting_ends_when_asked_to_stop(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.start(spec(tmp_path, "slow", SERVICE, "503"))
    assert not supervisor.wait_until_ready(timeout_s=20, stop=lambda: True)


def test_lines_are_shown_with_the_name_in_front_and_kept(
    tmp_path: Path, supervisor: Supervisor, output: io.StringIO
) -> None:
    supervisor.start(spec(tmp_path, "talker", "print('first'); print('second')"))
    poll_until(lambda: "second" in output.getvalue())
    assert output.getvalue() == "talker   | first\ntalker   | second\n"
    assert (tmp_path / "logs" / "talker.log").read_text() == "first\nsecond\n"


def test_the_end_of_a_process_is_an_error_with_its_status(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.start(spec(tmp_path, "failing", "raise SystemExit(7)"))
    with pytest.raises(ProcessDied, match="failing ended with status 7") as caught:
        supervisor.wait_until_ready(timeout_s=20, stop=lambda: False)
    assert caught.value.exit_code == 7


def test_a_killed_process_is_told_apart(tmp_path: Path, supervisor: Supervisor) -> None:
    process = supervisor.start(spec(tmp_path, "victim", SERVICE, "200"))
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ProcessDied, match="victim was killed by signal 9"):
        supervisor.watch(threading.Event())


def test_restarted_when_asked_for(tmp_path: Path, supervisor: Supervisor, output: io.StringIO) -> None:
    first = supervisor.start(spec(tmp_path, "phoenix", SERVICE, "200"))
    assert supervisor.wait_until_ready(timeout_s=20, stop=lambda: False)
    stop = threading.Event()
    watcher = threading.Thread(target=supervisor.watch, args=(stop,), kwargs={"restart": True})
    watcher.start()
    try:
        os.kill(first.pid, signal.SIGKILL)
        poll_until(lambda: output.getvalue().count("listening") == 2, what="the restart")
    finally:
        stop.set()
        watcher.join()
    assert supervisor.wait_until_ready(timeout_s=20, stop=lambda: False)


def test_a_server_of_the_group_is_never_restarted(
    tmp_path: Path, group: ProcessGroup, supervisor: Supervisor
) -> None:
    group.spawn("server", [sys.executable, "-c", "raise SystemExit(3)"])
    supervisor.start(spec(tmp_path, "service", SERVICE, "200"))
    with pytest.raises(ProcessDied, match="server ended with status 3"):
        supervisor.watch(threading.Event(), restart=True)


def test_stopping_leaves_no_process(tmp_path: Path, supervisor: Supervisor) -> None:
    processes = [supervisor.start(spec(tmp_path, name, SERVICE, "200")) for name in ("one", "two")]
    supervisor.stop()
    assert not any(alive(process.pid) for process in processes)


class ClosedPipe(io.StringIO):
    """Whoever read it has gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_processes_go_on_when_nobody_reads_any_more(tmp_path: Path, group: ProcessGroup) -> None:
    supervisor = Supervisor(group, tmp_path / "logs", ClosedPipe())
    # More than a pipe holds: without a reader the process would stand still.
    supervisor.start(spec(tmp_path, "talker", "for n in range(20_000): print(n)"))
    log_file = tmp_path / "logs" / "talker.log"
    poll_until(lambda: log_file.exists() and log_file.read_text().endswith("19999\n"))
    supervisor.stop()


def test_a_log_that_has_grown_large_is_set_aside(
    tmp_path: Path, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.supervisor._MAX_LOG_BYTES", 3)
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    (log_dir / "talker.log").write_text("before\n")
    supervisor.start(spec(tmp_path, "talker", "print('after')"))
    poll_until(lambda: (log_dir / "talker.log").exists() and (log_dir / "talker.log").read_text())
    assert (log_dir / "talker.log").read_text() == "after\n"
    assert (log_dir / "talker.log.1").read_text() == "before\n"


class Terminal(io.StringIO):
    """Claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert wants_colour(Terminal())
    assert not wants_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())


def test_names_are_coloured_on_a_terminal(
    tmp_path: Path, group: ProcessGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Terminal()
    Supervisor(group, tmp_path, screen).say("up", "ready")
    assert screen.getvalue() == "\x1b[31mup       |\x1b[0m ready\n"
