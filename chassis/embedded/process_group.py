"""Child processes that end with this one, in one process group of their own.

Servers and services must not outlive what started them: not after an interrupt, not after a
``kill -9`` of the parent. They share one process group, led by a watchdog (see watchdog.py),
and are recorded on disk, so that if even the watchdog was killed the next start clears them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from chassis.embedded import watchdog
from chassis.embedded.errors import AlreadyRunning, EmbeddedError
from chassis.embedded.file_lock import Locked, try_lock
from chassis.embedded.process_identity import ProcessIdentity

_RECORD = "processes.json"
_LOCK = "owner.lock"
_POLL_S = 0.05


@dataclass(slots=True)
class ManagedProcess:
    """One child: how it is called, and how it is asked to stop."""

    name: str
    popen: subprocess.Popen[bytes]
    stop_signal: signal.Signals
    stop_timeout_s: float

    @property
    def pid(self) -> int:
        return self.popen.pid

    def exit_status(self) -> int | None:
        """The exit status (negative: the signal that ended it), None while it runs."""
        return self.popen.poll()

    def stop(self) -> int:
        """Ask it to stop, kill it when it has not in time; its exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(self.stop_signal)
            try:
                return self.popen.wait(self.stop_timeout_s)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        return self.popen.wait()


class ProcessGroup:
    """A process group under ``state_dir``, as a context manager.

    Entering clears what a killed run left there and raises AlreadyRunning if the run that owns
    the directory lives. Leaving stops the children in reverse order of their start.
    ``grace_s`` is how long the watchdog waits before it kills, once this process has gone.
    """

    def __init__(self, state_dir: Path, *, grace_s: float = 10.0) -> None:
        self._state_dir = state_dir
        self._record = state_dir / _RECORD
        self._grace_s = grace_s
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._children: list[ManagedProcess] = []
        self._lock: IO[bytes] | None = None
        # Whoever is stopped while a server starts in a thread leaves that thread running.
        self._spawning = threading.Lock()
        self._closing = False

    def __enter__(self) -> Self:
        self._lock = _claim(self._state_dir)
        self._closing = False
        try:
            _end_recorded(self._state_dir, timeout_s=15.0)
        except EmbeddedError:
            self._lock.close()
            raise
        self._watchdog = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", watchdog.__file__, str(os.getpid()), str(self._grace_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        self._write_record()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def id(self) -> int:
        """The process group's id."""
        if self._watchdog is None:
            raise RuntimeError("the process group has not been entered")
        return self._watchdog.pid

    @property
    def children(self) -> Sequence[ManagedProcess]:
        """The children in the order of their start, ended ones included."""
        return tuple(self._children)

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.STDOUT,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_timeout_s: float = 10.0,
    ) -> ManagedProcess:
        """Start ``argv`` in the group. Raises EmbeddedError if the program cannot be run, or the group is
        being closed."""
        with self._spawning:
            if self._closing:
                raise EmbeddedError(
                    f"{name} is not started: everything is being stopped",
                    mend="Start it again, if that was meant",
                )
            try:
                popen = subprocess.Popen(  # noqa: S603 - callers pass fixed programs, never a shell
                    list(argv),
                    env=None if env is None else dict(env),
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    process_group=self.id,
                )
            except OSError as error:
                raise EmbeddedError(
                    f"cannot run {name} ({argv[0]}): {error.strerror}",
                    mend="Install backout's packages again (`make install`)",
                ) from error
            child = ManagedProcess(name, popen, stop_signal, stop_timeout_s)
            self._children.append(child)
            self._write_record()
        return child

    def forget(self, child: ManagedProcess) -> None:
        """Drop a child that was stopped and will be replaced."""
        with self._spawning:
            if not self._closing:
                self._children.remove(child)
                self._write_record()

    def close(self) -> None:
        """Stop everything, last started first; safe to call twice."""
        if self._watchdog is None:
            return
        with self._spawning:
            self._closing = True
        for child in reversed(self._children):
            child.stop()
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        try:
            self._watchdog.wait(self._grace_s + 5)
        except subprocess.TimeoutExpired:
            self._watchdog.kill()
            self._watchdog.wait()
        self._watchdog = None
        self._children.clear()
        self._record.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _write_record(self) -> None:
        identities = [ProcessIdentity.of(self.id), *(ProcessIdentity.of(c.pid) for c in self._children)]
        record = {
            "owner": _as_json(ProcessIdentity.own()),
            "processes": [_as_json(identity) for identity in identities if identity is not None],
        }
        temporary = self._record.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(record))
        temporary.replace(self._record)


def _as_json(identity: ProcessIdentity) -> dict[str, Any]:
    return {"pid": identity.pid, "started": identity.started}


def owner_of(state_dir: Path) -> ProcessIdentity | None:
    """The process that wrote the record in ``state_dir``, alive or not; None without a readable record."""
    record = _read_record(state_dir / _RECORD)
    return None if record is None else record[0]


def _read_record(path: Path) -> tuple[ProcessIdentity, list[ProcessIdentity]] | None:
    try:
        record = json.loads(path.read_text())
        owner = ProcessIdentity(int(record["owner"]["pid"]), str(record["owner"]["started"]))
        rest = [ProcessIdentity(int(item["pid"]), str(item["started"])) for item in record["processes"]]
    except (OSError, ValueError, KeyError, TypeError):
        # Absent, or cut short by the same crash: then nothing in it can be trusted to be signalled.
        return None
    return owner, rest


def _claim(state_dir: Path) -> IO[bytes]:
    try:
        return try_lock(state_dir / _LOCK)
    except Locked:
        owner = owner_of(state_dir)
        raise AlreadyRunning(str(state_dir), owner.pid if owner else None) from None


def clear_leftovers(state_dir: Path, *, timeout_s: float = 15.0) -> list[int]:
    """End the processes that a killed run recorded in ``state_dir``; the ids of those still found.

    Raises AlreadyRunning if the run that owns the directory is alive, and EmbeddedError for a
    process that does not go.
    """
    if not state_dir.is_dir():
        return []
    with _claim(state_dir):
        return _end_recorded(state_dir, timeout_s=timeout_s)


def _end_recorded(state_dir: Path, *, timeout_s: float) -> list[int]:
    path = state_dir / _RECORD
    record = _read_record(path)
    processes = [] if record is None else record[1]
    left = [process for process in reversed(processes) if process.alive]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        _end(left, number, deadline=time.monotonic() + timeout_s / 3)
    stubborn = [process.pid for process in left if process.alive]
    if stubborn:
        raise EmbeddedError(
            f"processes {stubborn} of an earlier run in {state_dir} do not end",
            mend="End them by hand, then start again",
        )
    path.unlink(missing_ok=True)
    return [process.pid for process in left]


def _end(processes: list[ProcessIdentity], number: signal.Signals, *, deadline: float) -> None:
    for process in processes:
        if process.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
    while any(process.alive for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
