"""What the embedded servers share: one process in a group, its log, its stop, its context."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from chassis.embedded.process_group import ManagedProcess, ProcessGroup
from chassis.embedded.progress import Progress
from chassis.embedded.readiness import poll_until


class EmbeddedServer(ABC):
    """A server with its data under ``state_dir``; a context manager, sync or async.

    It runs in ``group``, or in a process group of its own. Entering raises EmbeddedError.
    """

    def __init__(self, state_dir: Path, group: ProcessGroup | None, on_progress: Progress) -> None:
        self._dir = state_dir.absolute()
        self._given_group = group
        self._group: ProcessGroup | None = None
        self._on_progress = on_progress
        self._process: ManagedProcess | None = None
        self._port = 0

    @property
    def log_file(self) -> Path:
        """What the server itself says (warnings and errors)."""
        return self._dir / "server.log"

    @property
    def process(self) -> ManagedProcess | None:
        """The server's process, while it is started."""
        return self._process

    @abstractmethod
    def start(self) -> None:
        """Prepare what it needs, start it and wait until it answers."""

    def stop(self) -> None:
        """Stop it, in good order if it lets itself be stopped so; safe to call twice."""
        if self._process is not None:
            self._process.stop()
            self._process = None
        if self._group is not None:
            self._group.close()
            self._group = None

    def _enter_group(self) -> None:
        if self._given_group is None:
            self._group = ProcessGroup(self._dir).__enter__()

    def _processes(self) -> ProcessGroup:
        group = self._given_group or self._group
        if group is None:
            raise RuntimeError("start() enters the process group first")
        return group

    def _await_ready(
        self, process: ManagedProcess, port: int, answers: Callable[[], bool], *, timeout_s: float
    ) -> bool:
        """Keep ``process`` as the started one once it answers; drop it if it does not."""
        ready = poll_until(answers, timeout_s=timeout_s, gave_up=lambda: process.exit_status() is not None)
        if ready:
            self._process, self._port = process, port
        else:
            process.stop()
            self._processes().forget(process)
        return ready

    def _log_tail(self) -> str:
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return "\n".join(text.splitlines()[-12:]) or "(nothing)"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)
