"""The main job, end to end, and with each service killed once in the middle of it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from examples.demo.leftovers import processes_of
from examples.demo.receipts import receipts_in
from examples.demo.scenario import Pace, play
from examples.demo.summary import judge
from examples.demo.system import System, SystemOptions
from examples.demo.watch import Watched
from services.executor.adapters.playbook_files import load_playbooks
from tests.e2e.conftest import SystemFactory
from tests.polling import poll_until

QUICK = Pace(baseline=2.0, released=1.0)


# What a caller's shell may hold: settings of another system, and some that are wrong.
OF_ANOTHER_SYSTEM = {
    "BACKOUT_KAFKA__NAMESPACE": "another.",
    "BACKOUT_KAFKA__SESSION_TIMEOUT_MS": "nonsense",
    "BACKOUT_POSTGRES__DSN_FILE": "absent",
    "BACKOUT_EXECUTOR__COOL_DOWN_S": "-1",
    "BACKOUT_SETTINGS_FILE": "/",
    "DOCRAG_BREAKER_WHEN_STALE": "nonsense",
}


def _demo(
    state_dir: Path, *options: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "examples.demo", "--state-dir", str(state_dir), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "NO_COLOR": "1", **(environment or {})},
    )


@pytest.mark.timeout(240)
def test_the_demo_ends_with_a_verified_rollback_and_leaves_no_process(tmp_path: Path) -> None:
    """From a shell with the settings of another system, and kept running for the command line."""
    state_dir = tmp_path / "demo"
    said = []
    with _demo(state_dir, "--keep", environment=OF_ANOTHER_SYSTEM) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            said.append(line)
            if "It keeps running" in line:
                break
        try:
            exports = [line for line in said if line.startswith("export ")]
            listed = json.loads(_backout(exports, "incidents list -o json", tmp_path))
            lag = json.loads(_backout(exports, "topics lag -o json", tmp_path))
            incident_id = shlex.quote(listed[0]["incident_id"])
            explained = json.loads(_backout(exports, f"triggers explain {incident_id} -o json", tmp_path))
            # What a person does with it afterwards is no part of the demo's verdict.
            _backout(exports, "rollback --component pdf_extraction --reason drill --follow", tmp_path)
            poll_until(
                lambda: receipts_in(state_dir / "receivers").page_incidents == 2, 30, "a second incident"
            )
            demo.send_signal(signal.SIGTERM)
            said.append(demo.stdout.read())
        finally:
            demo.kill()  # without effect on one that has ended

    output = "".join(said)
    assert demo.returncode == 0, output
    assert "Traceback" not in output
    assert [(incident["component"], incident["status"]) for incident in listed] == [
        ("pdf_extraction", "closed")
    ]
    assert explained["fired"] is True
    assert explained["notes"] == []
    assert {"backout-monitor", "backout-analyzer"} <= {group["group"] for group in lag}
    assert processes_of(state_dir) == {}
    summary = json.loads((state_dir / "summary.json").read_text())
    assert summary["scenario"]
    assert summary["trigger"]["component"] == "pdf_extraction"
    assert summary["rollback"]["status"] == "Success"
    assert _time(summary["trigger"]["fired_at"]) <= _time(summary["rollback"]["started_at"])
    assert _time(summary["rollback"]["started_at"]) < _time(summary["rollback"]["completed_at"])
    steps = (
        load_playbooks(Path("config/playbooks"), only="pdf_extraction").by_component["pdf_extraction"].steps
    )
    assert [step["id"] for step in summary["rollback"]["steps"]] == [step.id for step in steps]
    assert {d["channel"] for d in summary["deliveries"] if d["status"] == "delivered"} == {
        "slack",
        "email",
        "status_page",
    }
    assert len({d["receiver"] for d in summary["deliveries"]}) == 9
    assert set(summary["timings_s"]) == {"breach_to_fired", "fired_to_started", "rollback", "total"}
    assert summary["timings_s"]["breach_to_fired"] >= 10
    for report in summary["report"].values():
        assert Path(report).stat().st_size > 1_000


def _backout(exports: list[str], arguments: str, directory: Path) -> str:
    """What ``backout`` prints, called as a person calls it who copies the lines into a shell."""
    script = "\n".join([*exports, f"{shlex.quote(sys.executable)} -m cli.main {arguments}"])
    done = subprocess.run(
        ["bash", "-euc", script],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.timeout(240)
def test_a_killed_demo_leaves_no_process(tmp_path: Path) -> None:
    state_dir = tmp_path / "demo"
    with _demo(state_dir) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Everything is ready" in line:
                break
        assert len(processes_of(state_dir)) >= 8
        demo.send_signal(signal.SIGKILL)
    poll_until(lambda: processes_of(state_dir) == {}, 40, "no process is left")


@pytest.mark.timeout(240)
def test_an_interrupted_demo_stops_everything(tmp_path: Path) -> None:
    state_dir = tmp_path / "demo"
    with _demo(state_dir) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "The new release is out" in line:
                break
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
    assert demo.returncode == 130, rest
    assert "Traceback" not in rest
    assert processes_of(state_dir) == {}


def _step_started(seen: Watched) -> bool:
    return bool(seen.rollbacks("step_started"))


def _opened(seen: Watched) -> bool:
    return bool(seen.incidents("opened"))


def _always(_seen: Watched) -> bool:
    return True


# Each is killed where it has most to lose: the monitor while the breach is pending, the executor
# within a step, the notifier while it tells of the start, the analyzer with the incident open.
MOMENTS: dict[str, Callable[[Watched], bool]] = {
    "monitor": _always,
    "executor": _step_started,
    "notifier": _step_started,
    "analyzer": _opened,
}


def _killer(system: System, services: Sequence[str]) -> Callable[[Watched], Awaitable[Any]]:
    async def kill(seen: Watched, service: str) -> None:
        assert await seen.until(MOMENTS[service], 90)
        system.kill_service(service)
        system.start_service(service)
        await system.wait_ready(service)

    async def kill_each(seen: Watched) -> None:
        await asyncio.gather(*(kill(seen, service) for service in services))

    return kill_each


@pytest.mark.timeout(300)
@pytest.mark.parametrize("killed", [("monitor", "executor"), ("notifier", "analyzer")], ids=" and ".join)
async def test_the_incident_ends_right_though_services_were_killed(
    killed: tuple[str, ...], start_system: SystemFactory, quick_rules: Path
) -> None:
    lines: list[str] = []
    async with start_system(SystemOptions(rules=(quick_rules,))) as system:
        outcome = await asyncio.wait_for(
            play(
                system,
                told=lambda event: lines.append(f"{event.type} {event.id}"),
                stage=lines.append,
                pace=QUICK,
                meanwhile=_killer(system, killed),
            ),
            280,
        )
        verdict = judge(outcome, system)
    broken = [f"{claim}: {found}" for claim, held, found in verdict.claims if not held]
    assert broken == [], "\n".join(lines)
