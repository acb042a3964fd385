"""Children end with their owner: when it leaves, when it is killed, and on the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis.embedded.errors import AlreadyRunning, EmbeddedError
from chassis.embedded.process_group import ProcessGroup, clear_leftovers, owner_of
from chassis.embedded.process_identity import ProcessIdentity
from tests.polling import alive, poll_until

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]
DEAF = [
    sys.executable,
    "-uc",
    "import signal, sys\n"
    "for n in (signal.SIGTERM, signal.SIGINT): signal.signal(n, signal.SIG_IGN)\n"
    "print('deaf')\n"
    "while True: signal.pause()",
]
OWNER = textwrap.dedent(
    """
    import sys, signal
    from pathlib import Path
    from chassis.embedded.process_group import ProcessGroup
    with ProcessGroup(Path(sys.argv[1]), grace_s=1.0) as group:
        argv = [sys.executable, "-c", "import signal; signal.pause()"]
        children = [group.spawn("sleeper", argv) for _ in range(2)]
        print(group.id, *[child.pid for child in children], flush=True)
        signal.pause()
    """
)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that owns a group of two children in ``tmp_path``: it, and [watchdog, child, child]."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 3
        yield process, pids
        process.kill()
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_nothing_starts_in_a_group_that_is_being_left(tmp_path: Path) -> None:
    """As a server does whose thread goes on after an interrupt."""
    started: list[int] = []
    refused: list[EmbeddedError] = []

    def start_on_and_on(group: ProcessGroup) -> None:
        while not refused:
            try:
                started.append(group.spawn("sleeper", SLEEPER).pid)
            except EmbeddedError as error:
                refused.append(error)

    with ProcessGroup(tmp_path) as group:
        thread = threading.Thread(target=start_on_and_on, args=(group,))
        thread.start()
        poll_until(lambda: len(started) > 2, what="some are started")
    thread.join(10)

    assert "everything is being stopped" in str(refused[0])
    assert not [pid for pid in started if alive(pid)]


def test_leaving_stops_everything(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path) as group:
        children = [group.spawn("sleeper", SLEEPER) for _ in range(2)]
        watchdog = group.id
        assert all(os.getpgid(child.pid) == watchdog for child in children)

    assert [child.exit_status() for child in children] == [-signal.SIGTERM, -signal.SIGTERM]
    assert not alive(watchdog)
    assert owner_of(tmp_path) is None


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path) as group:
        child = group.spawn("deaf", DEAF, stdout=subprocess.PIPE, stop_timeout_s=0.2)
        assert child.popen.stdout is not None
        with child.popen.stdout as stdout:
            assert stdout.readline() == b"deaf\n"
    assert child.exit_status() == -signal.SIGKILL


def test_killing_the_owner_leaves_no_process(owner: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, pids = owner
    process.kill()
    poll_until(lambda: not any(alive(pid) for pid in pids))


def test_the_next_start_clears_what_a_killed_watchdog_left(
    tmp_path: Path, owner: tuple[subprocess.Popen[str], list[int]]
) -> None:
    process, (watchdog, *children) = owner
    os.kill(watchdog, signal.SIGKILL)
    process.kill()
    process.wait()
    poll_until(lambda: not alive(watchdog))
    assert all(alive(pid) for pid in children)

    with ProcessGroup(tmp_path):
        assert not any(alive(pid) for pid in children)


def test_clearing_says_what_it_ended(tmp_path: Path, owner: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, (watchdog, *children) = owner
    os.kill(watchdog, signal.SIGKILL)
    process.kill()
    process.wait()
    poll_until(lambda: not alive(watchdog))

    assert sorted(clear_leftovers(tmp_path)) == sorted(children)
    assert clear_leftovers(tmp_path) == []


def test_a_directory_in_use_is_refused_and_left_alone(
    tmp_path: Path, owner: tuple[subprocess.Popen[str], list[int]]
) -> None:
    process, pids = owner
    with pytest.raises(AlreadyRunning) as caught, ProcessGroup(tmp_path):
        pytest.fail("two owners of one directory")
    assert caught.value.owner_pid == process.pid
    with pytest.raises(AlreadyRunning):
        clear_leftovers(tmp_path)
    assert all(alive(pid) for pid in pids)


def test_a_process_id_that_was_used_again_is_left_alone(tmp_path: Path) -> None:
    bystander = subprocess.Popen(SLEEPER)
    try:
        (tmp_path / "processes.json").write_text(
            f'{{"owner": {{"pid": 1, "started": "x"}}, '
            f'"processes": [{{"pid": {bystander.pid}, "started": "another boot/1"}}]}}'
        )
        assert clear_leftovers(tmp_path) == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("record", ["", "{", '{"owner": 1}', "[]", '{"owner": {"pid": 1}, "processes": []}'])
def test_a_record_cut_short_signals_nobody(tmp_path: Path, record: str) -> None:
    (tmp_path / "processes.json").write_text(record)
    assert clear_leftovers(tmp_path) == []


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path) as group, pytest.raises(EmbeddedError, match="cannot run thing"):
        group.spawn("thing", [str(tmp_path / "absent")])


def test_the_identity_of_a_process_is_its_own() -> None:
    own = ProcessIdentity.own()
    assert own.pid == os.getpid()
    assert own.alive
    assert ProcessIdentity.of(2**22 + 1) is None
