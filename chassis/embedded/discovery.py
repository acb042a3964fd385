"""What ``backout up`` runs in a state directory, told to other commands in the same place.

``run.json`` holds the addresses and the owner's identity. It is believed only while that very
process lives; it holds the local database's password, and only its owner may read it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chassis.embedded.process_identity import ProcessIdentity

_RUN_FILE = "run.json"


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A running ``backout up``: ``services`` maps a service to its health endpoint's port (0: not yet)."""

    owner: ProcessIdentity
    bootstrap_servers: str
    dsn: str
    services: Mapping[str, int] = field(default_factory=dict)


def run_file(state_dir: Path) -> Path:
    """Where the running one is written down."""
    return state_dir / _RUN_FILE


def read_run_file(state_dir: Path) -> RunInfo | None:
    """The ``backout up`` that runs in ``state_dir``; None if there is none, or it has gone."""
    try:
        found = json.loads(run_file(state_dir).read_text(encoding="utf-8"))
        info = RunInfo(
            ProcessIdentity(int(found["pid"]), str(found["started"])),
            str(found["bootstrap_servers"]),
            str(found["dsn"]),
            {str(name): int(port) for name, port in found["services"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return info if info.owner.alive else None


def write_run_file(state_dir: Path, info: RunInfo) -> None:
    """Publish ``info``, whole or not at all."""
    body = {
        "pid": info.owner.pid,
        "started": info.owner.started,
        "bootstrap_servers": info.bootstrap_servers,
        "dsn": info.dsn,
        "services": dict(info.services),
    }
    temporary = run_file(state_dir).with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(body, file, indent=2)
    temporary.replace(run_file(state_dir))


def remove_run_file(state_dir: Path) -> None:
    """Say that nothing runs any more."""
    run_file(state_dir).unlink(missing_ok=True)
