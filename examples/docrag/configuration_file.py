"""The configuration on disk: written atomically, verified at every load, with a backup of the original
extractor.

A file is written beside its final place, flushed to the disk and renamed, so that a crash leaves the old or
the new one, never a mixture. A file that changed under the service is noticed by its inode, size and time
of change and is verified again before it is used.
"""

import json
import os
from pathlib import Path

from pydantic import BaseModel

from examples.docrag.routing import (
    ConfigurationError,
    ExtractionConfiguration,
    OriginalConfiguration,
    SealedT,
    seal,
    unseal,
)

Signature = tuple[int, int, int]


class ConfigurationFiles:
    """The two sealed files of a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "extraction.json"
        self.backup_path = state_dir / "extraction.backup.json"
        self._loaded: tuple[Signature, ExtractionConfiguration] | None = None

    def exists(self) -> bool:
        """Whether the configuration file is there, intact or not."""
        return self.path.exists()

    def read(self) -> ExtractionConfiguration:
        """The verified configuration. Raises ConfigurationError if it is missing or was tampered with."""
        signature = _signature(self.path)
        if self._loaded is not None and self._loaded[0] == signature:
            return self._loaded[1]
        config = _load(self.path, ExtractionConfiguration)
        self._loaded = (signature, config)
        return config

    def write(self, config: ExtractionConfiguration) -> None:
        """Replace the configuration. Raises OSError; the old file then still stands."""
        _write_atomically(self.path, config)

    def read_backup(self) -> OriginalConfiguration:
        """The verified backup of the original extractor's configuration. Raises ConfigurationError."""
        return _load(self.backup_path, OriginalConfiguration)

    def write_backup(self, original: OriginalConfiguration) -> None:
        """Write the backup and read it back: a backup that was never read is not one."""
        _write_atomically(self.backup_path, original)
        if self.read_backup() != original:
            raise ConfigurationError(f"{self.backup_path.name} reads back differently from what was written")


def _signature(path: Path) -> Signature:
    try:
        state = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return state.st_ino, state.st_size, state.st_mtime_ns


def _load(path: Path, kind: type[SealedT]) -> SealedT:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    return unseal(content, kind, path.name)


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path.name} cannot be read ({error.strerror}); put the last intact copy back")


def _write_atomically(path: Path, model: BaseModel) -> None:
    content = json.dumps(seal(model), indent=2, sort_keys=True).encode() + b"\n"
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
