"""Whether a server answers, asked in its own protocol.

A listening port is not a ready server: a broker accepts connections before it has metadata.
Both questions are small enough to be asked without a client library, and synchronously.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

_POLL_S = 0.05
_METADATA_KEY = 3
_METADATA_VERSION = 1
_CORRELATION = 7


def poll_until(
    ready: Callable[[], bool], *, timeout_s: float, gave_up: Callable[[], bool] = lambda: False
) -> bool:
    """Ask until ``ready``; False once ``timeout_s`` have passed or ``gave_up`` says so."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if ready():
            return True
        if gave_up():
            return False
        time.sleep(_POLL_S)
    return False


def kafka_answers(host: str, port: int, *, timeout_s: float = 2.0) -> bool:
    """Whether the broker answers a metadata request with at least one broker and a controller."""
    client = b"backout-readiness"
    header = struct.pack(">hhih", _METADATA_KEY, _METADATA_VERSION, _CORRELATION, len(client)) + client
    request = header + struct.pack(">i", 0)
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            size = struct.unpack(">i", _receive(connection, 4))[0]
            answer = _receive(connection, size)
    except (OSError, struct.error):
        return False
    return _has_controller(answer)


def _has_controller(answer: bytes) -> bool:
    """Read a metadata response (version 1): correlation id, brokers, controller id."""
    try:
        correlation, brokers = struct.unpack_from(">ii", answer)
        at = 8
        for _ in range(brokers):
            at += 4
            at += 2 + struct.unpack_from(">h", answer, at)[0] + 4
            at += 2 + max(0, struct.unpack_from(">h", answer, at)[0])
        (controller,) = struct.unpack_from(">i", answer, at)
    except struct.error:
        return False
    return bool(correlation == _CORRELATION and brokers > 0 and controller >= 0)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionError("closed in the middle of an answer")
        received += chunk
    return received
