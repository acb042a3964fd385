"""``backout up`` with the services: ready together, healthy one by one, and gone together."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml

from chassis.embedded.discovery import read_run_file
from chassis.settings import SERVICES, Settings
from chassis.supervisor import is_ready, port_of
from tests.alerts import metrics_in
from tests.integration.conftest import COMMAND, clean_environment, run_backout, settings_as_variables
from tests.integration.infrastructure.test_up import descendants, until_ready, up
from tests.polling import alive, poll_until

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with the shipped configuration and settings."""
    shutil.copytree(CHECKOUT / "config", tmp_path / "config")
    shutil.copy(CHECKOUT / "backout.toml", tmp_path)
    return tmp_path


def get(port: int, path: str) -> tuple[int, dict[str, object]]:
    """Status and body of a service's answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def _looked_at_by_alerts() -> set[str]:
    """The metrics that the alert rules need."""
    groups = yaml.safe_load((CHECKOUT / "config" / "prometheus" / "alerts.yml").read_text())["groups"]
    return {name for group in groups for rule in group["rules"] for name in metrics_in(rule["expr"])}


def _shown(port: int) -> list[str]:
    """The names of the metrics that a running service shows."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return re.findall(r"^# TYPE (\w+) ", answer.read().decode(), re.MULTILINE)


def process_of(up_process: subprocess.Popen[str], service: str) -> psutil.Process:
    """The process of one service below ``backout up``."""
    (found,) = [
        child
        for child in psutil.Process(up_process.pid).children()
        if child.cmdline()[-2:] == ["run", service]
    ]
    return found


def test_all_services_are_ready_and_none_outlives_a_killed_up(directory: Path) -> None:
    with up(directory) as process:
        info = until_ready(process, directory)
        assert tuple(info.services) == SERVICES
        for service, port in info.services.items():
            assert get(port, "/healthz") == (200, {"service": service, "status": "ok"})
            assert get(port, "/readyz")[0] == 200
        assert _looked_at_by_alerts() <= {name for port in info.services.values() for name in _shown(port)}
        groups = json.loads(
            run_backout("topics", "lag", "-o", "json", cwd=directory, env=clean_environment()).out
        )
        assert {group["group"].split("-")[1] for group in groups} == set(SERVICES)
        assert {group["state"] for group in groups} == {"Stable"}
        pids = descendants(process)
        assert len({os.getpgid(process_of(process, service).pid) for service in SERVICES}) == 1

        process.kill()
        poll_until(lambda: not any(alive(pid) for pid in pids), timeout_s=60)


def test_only_what_was_asked_for_runs_and_down_stops_it(directory: Path, given_kafka: dict[str, str]) -> None:
    with up(directory, "--only", "monitor,notifier", **given_kafka) as process:
        info = until_ready(process, directory)
        assert set(info.services) == {"monitor", "notifier"}
        pids = descendants(process)
        assert run_backout("down", cwd=directory, env=clean_environment()).status == 0
        assert process.wait(60) == 0
    assert not any(alive(pid) for pid in pids)


def test_a_service_that_ends_ends_up_and_is_named(directory: Path, given_kafka: dict[str, str]) -> None:
    with up(directory, "--only", "notifier", **given_kafka) as process:
        until_ready(process, directory)
        process_of(process, "notifier").send_signal(signal.SIGKILL)
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait(60) == 1
    assert "backout: notifier was killed by signal 9. Its log is " in said


def test_a_service_that_ends_is_started_again_where_that_was_asked_for(
    directory: Path, given_kafka: dict[str, str]
) -> None:
    with up(directory, "--only", "notifier", "--restart", **given_kafka) as process:
        until_ready(process, directory)
        first = process_of(process, "notifier")
        first.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        for line in process.stdout:
            if "starting it again" in line:
                break
        poll_until(lambda: len(psutil.Process(process.pid).children()) == 3, what="the restart")
        assert process_of(process, "notifier").pid != first.pid
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(60) == 0


def test_a_wrong_file_is_named_and_ends_up_with_status_2(
    directory: Path, given_kafka: dict[str, str]
) -> None:
    (directory / "config" / "receivers.yml").write_text("receivers: none\n")
    with up(directory, "--only", "notifier", **given_kafka) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait(60) == 2
    assert "receivers.yml:1" in said
    assert "Traceback" not in said
    assert read_run_file(directory / ".backout") is None


@pytest.mark.usefixtures("topics")
def test_one_service_runs_alone_as_a_container_runs_it(directory: Path, settings: Settings) -> None:
    port_file = directory / "port"
    env = clean_environment(
        **settings_as_variables(settings),
        BACKOUT_HTTP__PORT_FILE=str(port_file),
        BACKOUT_LOG_FORMAT="json",
    )
    with subprocess.Popen(
        [*COMMAND, "run", "notifier"], cwd=directory, env=env, stderr=subprocess.PIPE
    ) as ran:
        try:
            poll_until(lambda: is_ready(port_of(port_file)), timeout_s=60, what="readiness")
            ran.send_signal(signal.SIGTERM)
            _, said = ran.communicate(timeout=60)
        finally:
            ran.kill()
    assert ran.returncode == 0
    assert all(json.loads(line)["service"] == "notifier" for line in said.splitlines())
