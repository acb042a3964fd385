"""The processes of ``backout up``: started together, watched, and stopped together.

Each process writes to a pipe; its lines are shown with the process's name in front and kept in a
file of its own. A process counts as ready when its ``/readyz`` answers 200, and never because
some time has passed.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

from chassis.embedded.process_group import ManagedProcess, ProcessGroup
from chassis.errors import BackoutError

_COLOURS = (36, 33, 35, 32, 34, 31)
_POLL_S = 0.1
_RESTART_DELAY_S = 1.0
_MAX_LOG_BYTES = 10_000_000


class ProcessDied(BackoutError):
    """A supervised process ended although nobody asked it to; ``exit_code`` is how."""

    def __init__(self, name: str, status: int, log_file: Path) -> None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        super().__init__(f"{name} {how}. Its log is {log_file}")
        self.name = name
        self.exit_code = status if status > 0 else 1


class NotReady(BackoutError):
    """A supervised process runs, but was not ready in time."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to run. It writes the port of its health endpoint to ``port_file``."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    port_file: Path
    stop_timeout_s: float


def wants_colour(output: TextIO) -> bool:
    """Whether lines written to ``output`` may be coloured: a terminal, and no NO_COLOR."""
    return output.isatty() and not os.environ.get("NO_COLOR")


class Supervisor:
    """Runs processes in ``group``, with their logs in ``log_dir`` and, prefixed, on ``output``."""

    def __init__(self, group: ProcessGroup, log_dir: Path, output: TextIO, *, name_width: int = 8) -> None:
        self._group = group
        self._log_dir = log_dir
        self._output = output
        self._name_width = name_width
        self._colour = wants_colour(output)
        self._write_lock = threading.Lock()
        self._output_gone = False
        self._running: dict[str, tuple[ProcessSpec, ManagedProcess]] = {}
        self._pumps: list[threading.Thread] = []

    def start(self, spec: ProcessSpec) -> ManagedProcess:
        """Start one process; raises EmbeddedError if its program cannot be run."""
        spec.port_file.parent.mkdir(parents=True, exist_ok=True)
        spec.port_file.unlink(missing_ok=True)
        self._log_dir.mkdir(parents=True, exist_ok=True)
        log_file = self._log_file(spec.name)
        if log_file.exists() and log_file.stat().st_size > _MAX_LOG_BYTES:
            log_file.replace(log_file.with_suffix(".log.1"))
        process = self._group.spawn(
            spec.name,
            spec.argv,
            env=spec.env,
            stdout=subprocess.PIPE,
            stop_timeout_s=spec.stop_timeout_s,
        )
        self._running[spec.name] = (spec, process)
        if process.popen.stdout is not None:
            pump = threading.Thread(
                target=self._pump,
                args=(spec.name, process.popen.stdout),
                name=f"log-{spec.name}",
                daemon=True,
            )
            pump.start()
            self._pumps.append(pump)
        return process

    def say(self, name: str, line: str) -> None:
        """Write one line under ``name``."""
        label = f"{name:<{self._name_width}} |"
        if self._colour:
            position = list(self._running).index(name) if name in self._running else len(_COLOURS) - 1
            label = f"\x1b[{_COLOURS[position % len(_COLOURS)]}m{label}\x1b[0m"
        with self._write_lock:
            if self._output_gone:
                return
            try:
                self._output.write(f"{label} {line}\n")
                self._output.flush()
            except BrokenPipeError:
                # Nobody reads any more; the processes' pipes must be emptied all the same.
                self._output_gone = True

    def ports(self) -> dict[str, int]:
        """The port of each process's health endpoint; 0 while it has none."""
        return {name: port_of(spec.port_file) for name, (spec, _) in self._running.items()}

    def wait_until_ready(self, *, timeout_s: float, stop: Callable[[], bool]) -> bool:
        """Wait for every process's ``/readyz``; False if ``stop`` said so before.

        Raises ProcessDied for a process that ends, and NotReady after ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        waiting = dict(self._running)
        while waiting:
            if stop():
                return False
            self._raise_if_server_died()
            self.raise_if_died()
            waiting = {
                name: item for name, item in waiting.items() if not is_ready(port_of(item[0].port_file))
            }
            if waiting and time.monotonic() > deadline:
                raise NotReady(
                    f"not ready within {timeout_s:g} s: {', '.join(waiting)}. "
                    f"{'; '.join(self._why_not_ready(name) for name in waiting)}. Logs are in {self._log_dir}"
                )
            time.sleep(_POLL_S)
        return True

    def watch(self, stop: threading.Event, *, restart: bool = False) -> None:
        """Return once ``stop`` is set. Raises ProcessDied for a process that ends of itself, unless
        ``restart``: then it is started again. A server of the group that ends is never restarted."""
        while not stop.wait(_POLL_S):
            self._raise_if_server_died()
            if not restart:
                self.raise_if_died()
                continue
            for name, (spec, process) in list(self._running.items()):
                status = process.exit_status()
                if status is not None:
                    self.say(name, f"ended with status {status}; starting it again")
                    self._group.forget(process)
                    stop.wait(_RESTART_DELAY_S)
                    self.start(spec)

    def stop(self) -> None:
        """Stop the processes, last started first, and let their last lines be written."""
        for _, process in reversed(self._running.values()):
            process.stop()
        for pump in self._pumps:
            pump.join(timeout=5)
        self._pumps.clear()
        self._running.clear()

    def raise_if_died(self) -> None:
        """Raise ProcessDied for the first process that has ended."""
        for name, (_, process) in self._running.items():
            status = process.exit_status()
            if status is not None:
                raise ProcessDied(name, status, self._log_file(name))

    def _raise_if_server_died(self) -> None:
        supervised = {process.pid for _, process in self._running.values()}
        for child in self._group.children:
            status = child.exit_status()
            if status is not None and child.pid not in supervised:
                raise ProcessDied(child.name, status, self._log_file(child.name))

    def _why_not_ready(self, name: str) -> str:
        port = port_of(self._running[name][0].port_file)
        if not port:
            return f"{name} does not listen yet"
        return f"{name} answers {_get(port, '/readyz')[1] or 'nothing'}"

    def _log_file(self, name: str) -> Path:
        return self._log_dir / f"{name}.log"

    def _pump(self, name: str, stream: IO[bytes]) -> None:
        """Copy a process's lines to its file and to the output, until it closes its end."""
        with stream, self._log_file(name).open("ab") as file:
            for raw in stream:
                file.write(raw)
                file.flush()
                self.say(name, raw.decode("utf-8", errors="replace").rstrip("\r\n"))


def port_of(port_file: Path) -> int:
    """The port written in ``port_file``, 0 if there is none yet."""
    try:
        return int(port_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def is_ready(port: int) -> bool:
    """Whether ``/readyz`` on this machine's ``port`` answers 200."""
    return port != 0 and _get(port, "/readyz")[0] == 200


def _get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()
