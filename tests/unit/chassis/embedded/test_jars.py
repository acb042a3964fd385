"""The lock of Kafka's jars, and what happens to a jar that is not what the lock says."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from chassis.embedded.errors import EmbeddedError
from chassis.embedded.jars import (
    COORDINATES,
    LOCK_FILE,
    STAGE,
    LockedJar,
    ensure_jars,
    jar_directory,
    read_lock,
)

CONTENT = b"not a real jar, but a file with a checksum"
JAR = LockedJar("org.example", "thing", "1.0", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """The place of ``JAR`` in a cache at ``tmp_path``, where it lies as it should."""
    path = jar_directory(tmp_path) / JAR.path
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


def test_the_lock_names_every_requested_package_with_a_checksum_and_no_address() -> None:
    jars = read_lock()
    names = {f"{jar.group}:{jar.artifact}:{jar.version}" for jar in jars}

    assert set(COORDINATES.split("+")) <= names
    assert len(names) == len(jars)
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert "://" not in LOCK_FILE.read_text()


def test_a_jar_as_locked_is_on_the_class_path(tmp_path: Path, cached: Path) -> None:
    seen = []
    assert ensure_jars(tmp_path, lock=[JAR], on_progress=lambda *step: seen.append(step)) == [cached]
    assert seen == [(STAGE, 1, 1)]


def test_a_damaged_jar_is_an_error_that_names_it_and_the_mend(tmp_path: Path, cached: Path) -> None:
    cached.write_bytes(CONTENT.replace(b"real", b"rael"))

    with pytest.raises(EmbeddedError, match="is damaged") as caught:
        ensure_jars(tmp_path, lock=[JAR])

    assert str(cached) in caught.value.problem
    assert "Delete that file" in caught.value.mend


def test_damage_after_a_good_check_is_found_by_size_and_time(tmp_path: Path, cached: Path) -> None:
    ensure_jars(tmp_path, lock=[JAR])
    cached.write_bytes(CONTENT[:-1])

    with pytest.raises(EmbeddedError, match="is damaged"):
        ensure_jars(tmp_path, lock=[JAR])


def test_a_checked_jar_is_not_read_again(tmp_path: Path, cached: Path) -> None:
    ensure_jars(tmp_path, lock=[JAR])
    status = cached.stat()
    cached.write_bytes(CONTENT.replace(b"real", b"rael"))
    os.utime(cached, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert ensure_jars(tmp_path, lock=[JAR]) == [cached]


def test_a_cache_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "maven").write_text("a file, where a directory should be")

    with pytest.raises(EmbeddedError, match="BACKOUT_CACHE_DIR"):
        ensure_jars(tmp_path, lock=[JAR])


def test_a_jar_that_cannot_be_fetched_is_named_and_nothing_half_done_is_kept(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_tcp_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(
        EmbeddedError, match=r"cannot fetch the Kafka package org\.example:thing:1\.0"
    ) as caught:
        ensure_jars(tmp_path, lock=[JAR])

    assert "Check the network" in caught.value.mend
    assert [path.name for path in jar_directory(tmp_path).iterdir()] == [".lock"]
