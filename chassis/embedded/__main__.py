"""``python -m chassis.embedded [STATE_DIR]``: both servers, for a test, a benchmark or a look around.

Prints one line of JSON, ``{"bootstrap_servers", "dsn"}``, once they answer, and stays until its
standard input ends or a SIGTERM or SIGINT comes. With no STATE_DIR it takes a temporary one.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from chassis.embedded.infrastructure import infrastructure
from chassis.embedded.process_group import ProcessGroup
from chassis.errors import BackoutError
from chassis.settings import load_settings


def main(arguments: list[str]) -> int:
    read_end, write_end = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.close(write_end) if _open(write_end) else None)
    try:
        with ExitStack() as stack:
            state_dir = arguments[0] if arguments else stack.enter_context(tempfile.TemporaryDirectory())
            settings = load_settings(discover=False, state_dir=Path(state_dir))
            group = stack.enter_context(ProcessGroup(settings.state_dir))
            servers = stack.enter_context(infrastructure(settings, group))
            line = {"bootstrap_servers": servers.bootstrap_servers, "dsn": servers.dsn}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
            _wait_for_end(read_end)
    except BackoutError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _wait_for_end(signalled: int) -> None:
    """Until standard input or the signal's pipe is at its end."""
    while True:
        readable, _, _ = select.select([signalled, sys.stdin.fileno()], [], [])
        if any(not os.read(descriptor, 4096) for descriptor in readable):
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
