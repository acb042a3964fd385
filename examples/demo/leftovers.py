"""Which processes of a run are still there: a run must leave none, however it ended."""

from __future__ import annotations

import os
from pathlib import Path


def processes_of(state_dir: Path) -> dict[int, str]:
    """The live processes that have ``state_dir`` in their arguments, environment or directory.

    By process id, with the command line. This process and its ancestors are left out: a shell
    that names the directory is no leftover.
    """
    needle = str(state_dir.absolute())
    mine = _ancestors()
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in mine and _names(entry, needle):
            found[int(entry.name)] = _text(entry / "cmdline").replace("\0", " ").strip()
    return found


def _names(entry: Path, needle: str) -> bool:
    if _state(entry) in ("Z", ""):
        return False
    try:
        directory = str((entry / "cwd").readlink())
    except OSError:
        directory = ""
    return directory.startswith(needle) or any(
        needle in _text(entry / name) for name in ("cmdline", "environ")
    )


def _state(entry: Path) -> str:
    fields = _text(entry / "stat").rpartition(")")[2].split()
    return fields[0] if fields else ""


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""  # it has ended since, or is another user's


def _ancestors() -> set[int]:
    found, process = set(), os.getpid()
    while process > 1:
        found.add(process)
        fields = _text(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
        process = int(fields[1]) if len(fields) > 1 else 0
    return found
