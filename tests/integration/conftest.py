"""The command line as people run it: a process, with its own directory and environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from chassis.settings import Settings, without_settings


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str


Backout = Callable[..., Ran]
COMMAND = [sys.executable, "-m", "cli.main"]


def clean_environment(**variables: str) -> dict[str, str]:
    """This environment without settings of backout, and with ``variables``."""
    cache = {name: os.environ[name] for name in ("BACKOUT_CACHE_DIR",) if name in os.environ}
    return {**without_settings(), **cache, "NO_COLOR": "1", **variables}


def settings_as_variables(settings: Settings) -> dict[str, str]:
    """What a process needs in its environment to work in the namespace and database of a test."""
    return {
        "BACKOUT_STATE_DIR": str(settings.state_dir),
        "BACKOUT_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "BACKOUT_KAFKA__NAMESPACE": settings.kafka.namespace,
        "BACKOUT_KAFKA__SESSION_TIMEOUT_MS": str(settings.kafka.session_timeout_ms),
        "BACKOUT_POSTGRES__DSN": settings.postgres_dsn,
    }


def run_backout(
    *arguments: str, cwd: Path, env: Mapping[str, str], stdin: str = "", timeout_s: float = 120
) -> Ran:
    """Run ``backout ARGUMENTS`` to its end."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=dict(env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def backout(settings: Settings, tmp_path: Path) -> Backout:
    """``backout("topics", "list")`` within the test's namespace and database."""
    env = clean_environment(**settings_as_variables(settings))

    def run(*arguments: str, stdin: str = "", **variables: str) -> Ran:
        return run_backout(*arguments, cwd=tmp_path, env={**env, **variables}, stdin=stdin)

    return run


@pytest.fixture
def given_kafka(kafka_bootstrap: str, namespace: str) -> dict[str, str]:
    """The session's broker as ``backout up`` is given it, in a namespace of the test's own."""
    return {"BACKOUT_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap, "BACKOUT_KAFKA__NAMESPACE": namespace}
