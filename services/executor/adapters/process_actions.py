"""Programs from the allow-list: no shell, a bounded run, and nothing left behind.

Each runs below a guard of its own (``process_guard``), which leads its process group and kills
it when the executor is gone, however it went.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from chassis.settings import without_settings
from services.executor.adapters.playbook_actions import is_allowed
from services.executor.domain.playbook import Process, ProcessCheck
from services.executor.domain.steps import Acted, Landing, Seen, Sight
from services.executor.domain.templates import Names, TemplateError, fill_text, storable_text

_GUARD = Path(__file__).with_name("process_guard.py")
_OUTPUT_BYTES = 2_000
_DYING_S = 5.0


class ProcessActions:
    """Runs what the settings allow."""

    def __init__(self, allowed: list[list[str]]) -> None:
        self._allowed = allowed

    async def run(self, process: Process, names: Names, *, key: str, epoch: int, timeout_s: float) -> Acted:
        """Run it once: exit status 0 is applied, any other refused, none in time unknown."""
        environment = {"BACKOUT_IDEMPOTENCY_KEY": key, "BACKOUT_EPOCH": str(epoch)}
        try:
            status, output = await self._run(process.argv, names, timeout_s, environment)
        except TimeoutError:
            return Acted(Landing.UNKNOWN, f"killed after {timeout_s:.1f} s", retryable=process.repeatable)
        except (OSError, TemplateError) as error:
            return Acted(Landing.REFUSED, str(error))
        if status == 0:
            return Acted(Landing.APPLIED, "exit status 0")
        detail = f"exit status {status}: {output}".rstrip(": ")
        return Acted(Landing.REFUSED, detail, retryable=process.repeatable)

    async def check(self, check: ProcessCheck, names: Names, *, timeout_s: float) -> Seen:
        """Look once: exit status 0 is done, 1 not done, any other says nothing."""
        try:
            status, output = await self._run(check.argv, names, timeout_s, {})
        except (OSError, TimeoutError, TemplateError) as error:
            return Seen(Sight.UNKNOWN, str(error) or "no answer in time")
        sight = {0: Sight.DONE, 1: Sight.NOT_DONE}.get(status, Sight.UNKNOWN)
        return Seen(sight, f"exit status {status}", {"status": status, "output": output})

    async def _run(
        self, argv: Sequence[str], names: Names, timeout_s: float, environment: dict[str, str]
    ) -> tuple[int, str]:
        filled = tuple(fill_text(word, names) for word in argv)
        if not is_allowed(filled, self._allowed):
            raise TemplateError(f"{' '.join(filled)!r} is not among the allowed commands")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(_GUARD),
            *filled,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={**without_settings(), **environment},
        )
        try:
            async with asyncio.timeout(timeout_s):
                output = await _tail(process)
                status = await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await _until_closed(process)
        return status, output


async def _until_closed(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of the guard's children, which hold its output. A signal kills none at once, and one
    that waits for a disk or for its turn would still be there when the next attempt begins."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe, see above
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DYING_S):
            while await process.stdout.read(65_536):
                pass


async def _tail(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None  # noqa: S101 - it is a pipe, see above
    kept = b""
    while chunk := await process.stdout.read(65_536):
        kept = (kept + chunk)[-_OUTPUT_BYTES:]
    return storable_text(kept.decode("utf-8", "replace")).strip()
