"""The process that ends a process group when its owner is gone, however the owner went.

It runs as a program of its own (standard library only, so that it starts in milliseconds) and
leads the process group of the servers and services. Its standard input is a pipe that only the
owner holds open: at end of file, or when it has been re-parented, it asks the group to stop,
and kills what has not stopped in time. A ``kill -9`` of the owner therefore leaves nothing.

usage: watchdog.py OWNER_PID GRACE_SECONDS
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path

_POLL_S = 0.05
# A server that treats SIGTERM as "when your clients have left" takes SIGINT as "now" (Postgres).
_INSIST_AFTER = 0.3


def members(group: int) -> list[int] | None:
    """The live processes of ``group`` but this one; None where there is no /proc to tell."""
    if not Path("/proc/self/stat").exists():
        return None
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            state, _, pgrp = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(entry.name))
    return found


def wait_for_owner(owner: int) -> None:
    """Return when the pipe on standard input is closed, or ``owner`` is no longer the parent."""
    while os.getppid() == owner:
        readable, _, _ = select.select([sys.stdin.fileno()], [], [], 0.5)
        if readable and not os.read(sys.stdin.fileno(), 64):
            return


def stop_group(group: int, grace_s: float) -> None:
    """SIGTERM, then SIGINT, then SIGKILL to every process of ``group`` (this one included)."""
    started = time.monotonic()
    insisted = False
    if members(group) != []:
        _signal(group, signal.SIGTERM)
    while members(group) != []:
        elapsed = time.monotonic() - started
        if elapsed > grace_s:
            _signal(group, signal.SIGKILL)
        if not insisted and elapsed > grace_s * _INSIST_AFTER:
            insisted = True
            _signal(group, signal.SIGINT)
        time.sleep(_POLL_S)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def main(argv: list[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wait_for_owner(int(argv[1]))
    stop_group(os.getpgrp(), float(argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
