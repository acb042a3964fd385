"""Which process a recorded process id meant.

Process ids are used again. A record on disk therefore holds the id and the start of the
process; only where both agree may a later run send it a signal.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process id together with when that process began, in the system's own words."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """The identity of the live process ``pid``; None if there is none (a zombie counts as none)."""
        started = _start_of(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def own(cls) -> ProcessIdentity:
        """The identity of this process."""
        identity = cls.of(os.getpid())
        if identity is None:
            raise OSError("the system does not say when this process started")
        return identity

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return _start_of(self.pid) == self.started


def _start_of(pid: int) -> str | None:
    if _BOOT_ID.exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            # After the command name: state is the first field, the start time the twentieth.
            return None if fields[0] in "ZX" else f"{_BOOT_ID.read_text().strip()}/{fields[19]}"
        except (OSError, IndexError):
            return None
    answer = subprocess.run(  # noqa: S603 - fixed arguments
        ["ps", "-o", "lstart=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or None
