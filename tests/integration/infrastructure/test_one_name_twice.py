"""Two processes of one service with one name: the one that was there first ends, and says why."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis.settings import NO_SETTINGS_FILE, Settings
from tests.integration.conftest import COMMAND, clean_environment, settings_as_variables
from tests.polling import poll_until

ROOT = Path(__file__).parents[3]


class Started:
    """One process of a service."""

    def __init__(self, service: str, number: int, settings: Settings, directory: Path) -> None:
        self.port_file = directory / f"{number}.port"
        self.log_file = directory / f"{number}.log"
        env = clean_environment(
            **settings_as_variables(settings),
            **NO_SETTINGS_FILE,
            BACKOUT_INSTANCE="the-same",
            BACKOUT_HTTP__PORT_FILE=str(self.port_file),
            BACKOUT_CONFIG_DIR=str(ROOT / "config"),
        )
        with self.log_file.open("wb") as output:
            argv = [*COMMAND, "run", service]
            self.process = subprocess.Popen(argv, cwd=directory, env=env, stdout=output, stderr=output)

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log
        if not self.port_file.exists():
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port_file.read_text()}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def started() -> Iterator[list[Started]]:
    processes: list[Started] = []
    yield processes
    for each in processes:
        each.end()


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("service", ["monitor", "analyzer"])
def test_the_first_ends_with_the_reason_and_the_second_is_ready(
    service: str, settings: Settings, tmp_path: Path, started: list[Started]
) -> None:
    first = Started(service, 1, settings, tmp_path)
    started.append(first)
    poll_until(first.is_ready, 60, "the first is ready")
    second = Started(service, 2, settings, tmp_path)
    started.append(second)
    poll_until(lambda: first.process.poll() is not None, 60, "the first ends")
    assert first.process.returncode == 2
    assert (
        "BACKOUT_INSTANCE: another process has taken this one's place: 'the-same' of the group " in first.log
    )
    poll_until(second.is_ready, 60, "the second is ready")
