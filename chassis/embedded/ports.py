"""Free TCP ports on the loopback interface.

A port found free may be taken before the server binds it, so whoever uses these also starts
again on another one. Used ports are remembered under the state directory: a restart keeps its
addresses where it can.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

HOST = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """``count`` different ports that nothing listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def remembered_ports(path: Path, count: int) -> list[int]:
    """The ports written in ``path`` if they are free, otherwise new ones."""
    try:
        ports = json.loads(path.read_text())
    except (OSError, ValueError):
        ports = None
    valid = isinstance(ports, list) and len(ports) == count and all(isinstance(port, int) for port in ports)
    if valid and all(is_free(port) for port in ports):
        return list(ports)
    return free_ports(count)


def remember_ports(path: Path, ports: Sequence[int]) -> None:
    """Write ``ports`` for the next start."""
    path.write_text(json.dumps(list(ports)))
