"""The reports' files: each incident has a directory, each file is written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from chassis.settings import Settings
from services.analyzer.adapters.render import Rendered

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 80


def reports_directory(settings: Settings) -> Path:
    """Where reports are kept."""
    return settings.analyzer.reports_dir or settings.state_dir / "reports"


def directory_name(incident_id: str) -> str:
    """An incident's id as a name of a directory, distinct for every id."""
    safe = _UNSAFE.sub("_", incident_id).lstrip(".")[:_LONGEST]
    if safe == incident_id:
        return safe
    return f"{safe}-{hashlib.sha256(incident_id.encode()).hexdigest()[:8]}"


class ReportFiles:
    """Writes and reads the files of reports below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, incident_id: str, rendered: Rendered) -> Path:
        """Write a report's files; returns their directory."""
        directory = self._root.resolve() / directory_name(incident_id)
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in rendered.files().items():
            part = directory / f".{name}.part"
            with part.open("wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            part.replace(directory / name)
        return directory


def read_file(path: Path) -> bytes | None:
    """A file's bytes; None where there is no such file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
