"""Runs one program and kills its process group when the executor that started it is gone.

A program of its own, of the standard library only: ``process_guard.py PROGRAM [ARGUMENT …]``.
Its standard input is a pipe that only the executor holds open; at its end the group is killed.
The exit status is the program's (128 + n where signal n ended it, 127 where it is not there).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def _kill_group_at_end_of_input() -> None:
    while os.read(0, 4_096):
        pass
    os.killpg(0, signal.SIGKILL)


def main(argv: list[str]) -> int:
    """Run ``argv`` and return its exit status."""
    threading.Thread(target=_kill_group_at_end_of_input, daemon=True).start()
    try:
        status = subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}")
        return 127
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)
