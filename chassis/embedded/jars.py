"""Kafka's jars: fetched once for all copies on the machine, and checked against the lock.

``jgo.lock.toml`` beside this file names each jar and its SHA-256. A jar is fetched into a
temporary directory, checked, and only then moved to its place in the cache, so an interrupted
download is never taken for a jar. At later starts a jar whose size and time are those of its
full check is not read again; anything else is, and damage is an error, not a crash of the JVM.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chassis.embedded.errors import EmbeddedError
from chassis.embedded.file_lock import file_lock
from chassis.embedded.progress import Progress, no_progress

LOCK_FILE = Path(__file__).with_name("jgo.lock.toml")
COORDINATES = "org.apache.kafka:kafka_2.13:4.4.0+org.slf4j:slf4j-simple:1.7.36"
STAGE = "Kafka: packages"
_PARALLEL_DOWNLOADS = 4


@dataclass(frozen=True, slots=True)
class LockedJar:
    """One jar of the lock."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where it lies in a Maven repository."""
        name = f"{self.artifact}-{self.version}.jar"
        return Path(*self.group.split("."), self.artifact, self.version, name)

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def read_lock(path: Path = LOCK_FILE) -> tuple[LockedJar, ...]:
    """The jars that ``path`` locks, in the order of the class path."""
    dependencies = tomllib.loads(path.read_text(encoding="utf-8"))["dependencies"]
    return tuple(
        LockedJar(item["groupId"], item["artifactId"], item["version"], item["sha256"])
        for item in dependencies
    )


def jar_directory(cache_dir: Path) -> Path:
    """Where the jars of this version are kept under ``cache_dir``."""
    return cache_dir.expanduser() / "maven"


def ensure_jars(
    cache_dir: Path, *, lock: Sequence[LockedJar] | None = None, on_progress: Progress = no_progress
) -> list[Path]:
    """The checked jars, fetched where they are missing: the class path.

    Raises EmbeddedError for a jar that is damaged or cannot be fetched. Safe to call from many
    processes at once: one fetches, the others wait.
    """
    jars = read_lock() if lock is None else lock
    root = jar_directory(cache_dir)
    with _cache_errors(root), file_lock(root / ".lock"):
        stamps = _read_stamps(root)
        missing = [jar for jar in jars if not (root / jar.path).exists()]
        present = [jar for jar in jars if (root / jar.path).exists()]
        for jar in present:
            if stamps.get(str(jar.path)) != _stamp(root / jar.path):
                _check(jar, root / jar.path, mend="Delete that file and start again: it will be fetched anew")
        on_progress(STAGE, len(present), len(jars))
        if missing:
            _fetch(missing, root, already=len(present), on_progress=on_progress)
        fresh = {str(jar.path): _stamp(root / jar.path) for jar in jars}
        if any(stamps.get(path) != stamp for path, stamp in fresh.items()):
            _write_stamps(root, {**stamps, **fresh})
    return [root / jar.path for jar in jars]


def damaged_or_missing(cache_dir: Path) -> tuple[list[LockedJar], list[LockedJar]]:
    """Read every jar in full: those that are damaged, and those not fetched yet."""
    root = jar_directory(cache_dir)
    damaged, missing = [], []
    for jar in read_lock():
        if not (root / jar.path).exists():
            missing.append(jar)
        elif _sha256(root / jar.path) != jar.sha256:
            damaged.append(jar)
    return damaged, missing


@contextmanager
def _cache_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedError(
            f"the package cache {root} cannot be used: {error.strerror or error}",
            mend="Make it writable, or set BACKOUT_CACHE_DIR to a directory that is",
        ) from error


def _fetch(jars: Sequence[LockedJar], root: Path, *, already: int, on_progress: Progress) -> None:
    total = already + len(jars)
    with (
        tempfile.TemporaryDirectory(dir=root, prefix=".fetch-") as scratch,
        ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool,
    ):
        fetched = pool.map(lambda jar: (jar, _download(jar, Path(scratch))), jars)
        for count, (jar, path) in enumerate(fetched, start=already + 1):
            _check(jar, path, mend="It came so over the network: run it again, and look into proxies between")
            target = root / jar.path
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            on_progress(STAGE, count, total)


def _download(jar: LockedJar, scratch: Path) -> Path:
    # Imported here: jgo and requests take a third of a second, and are needed once a machine.
    import requests
    from jgo.maven import MavenContext

    artifact = (
        MavenContext(repo_cache=scratch, local_repos=[], timeout=60)
        .project(jar.group, jar.artifact)
        .at_version(jar.version)
        .artifact()
    )
    try:
        return Path(artifact.resolve())
    except (requests.RequestException, RuntimeError) as error:
        raise EmbeddedError(
            f"cannot fetch the Kafka package {jar}: {error}",
            mend="Check the network, and run it again: what was fetched is kept",
        ) from error


def _check(jar: LockedJar, path: Path, *, mend: str) -> None:
    found = _sha256(path)
    if found != jar.sha256:
        raise EmbeddedError(
            f"the Kafka package {path} is damaged: its SHA-256 is {found}, not {jar.sha256}",
            mend=mend,
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _read_stamps(root: Path) -> dict[str, list[int]]:
    try:
        stamps = json.loads((root / "checked.json").read_text())
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def _write_stamps(root: Path, stamps: dict[str, list[int]]) -> None:
    temporary = root / "checked.json.tmp"
    temporary.write_text(json.dumps(stamps, indent=0, sort_keys=True))
    temporary.replace(root / "checked.json")
