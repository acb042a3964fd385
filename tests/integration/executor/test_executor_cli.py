"""What a person asks at the command line, against a running executor."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.integration.conftest import Backout, Ran
from tests.integration.executor.stage import COMPONENT, Executors, rollback
from tests.integration.executor.target import Target


@pytest.fixture
def ask(backout: Backout, executors: Executors) -> Any:
    """Runs the command beside the target's event loop."""

    async def run(*arguments: str) -> Ran:
        return await asyncio.to_thread(backout, *arguments, BACKOUT_CONFIG_DIR=str(executors.config_dir))

    return run


async def test_a_rollback_is_followed_to_its_success(ask: Any, executors: Executors, target: Target) -> None:
    executors.start()
    ran = await ask("rollback", "--component", COMPONENT, "--preserve-data", "--reason", "slow", "--follow")

    assert ran.status == 0, ran.err
    assert "step completed 1/4 disable" in ran.out
    assert "pass accuracy 0.99" in ran.out
    assert "completed: Success" in ran.out.splitlines()[-1]
    assert target.state[COMPONENT]["routing"] == "original"

    shown = await ask("status", "-o", "json")
    found = json.loads(shown.out)
    assert found["control"]["paused"] is False
    assert [(item["component"], item["status"]) for item in found["executions"]] == [(COMPONENT, "Success")]
    table = await ask("status")
    assert "Success" in table.out
    assert "Rollbacks are not paused." in table.out


async def test_a_followed_rollback_that_fails_exits_with_1(
    ask: Any, executors: Executors, target: Target
) -> None:
    target.faults.accuracy = 0.5
    executors.start()
    ran = await ask("rollback", "--component", COMPONENT, "--follow", "-o", "json")

    assert ran.status == 1
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert events[-1]["status"] == "Failed"
    assert "did not end in Success: Failed" in ran.err
    (shown,) = json.loads((await ask("status", "-o", "json")).out)["executions"]
    assert (shown["last_entry"], shown["why"]) == ("completed", events[-1]["why"])
    assert shown["created_at"].endswith("Z")
    assert (await ask("status")).out.endswith(f"\n{shown['execution_id']}: {events[-1]['why']}\n")


async def test_following_is_bounded(ask: Any) -> None:
    ran = await ask("rollback", "--component", COMPONENT, "--follow", "--timeout", "1")

    assert ran.status == 1
    assert "no executor has answered within 1 s" in ran.err


async def test_a_dry_run_shows_the_plan_and_writes_nothing(ask: Any, executors: Executors) -> None:
    table = await ask("rollback", "--component", COMPONENT, "--dry-run")
    assert await ask("rollback", COMPONENT, "--dry-run") == table
    as_json = await ask(
        "rollback", "--component", COMPONENT, "--emergency", "--reason", "x", "--dry-run", "-o", "json"
    )

    assert table.status == 0
    assert "Nothing is done" in table.out
    plan = json.loads(as_json.out)
    assert [step["id"] for step in plan["steps"]] == ["disable", "restore", "validate", "route"]
    assert plan["steps"][0] == {
        "id": "disable",
        "action": "http.call",
        "description": f'PUT {{target.sample}}/components/{COMPONENT}/enhanced {{"to": false}}',
        "reversible": True,
        "fenced": True,
    }
    assert await executors.events("commands") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--component", "unknown"), "there is no playbook for unknown"),
        (("--component", "unknown", "--dry-run"), "there is no playbook for unknown"),
        (("--emergency", "--reason", "all is lost"), "there is no playbook for the full system"),
        (("--component", "careless", "--preserve-data"), "does not promise to keep the data"),
        (("--emergency", "--component", COMPONENT), "an emergency needs a --reason"),
        ((), "nothing to roll back"),
        ((COMPONENT, "--component", "careless"), "are two things"),
    ],
)
async def test_what_cannot_be_done_exits_with_2_and_writes_nothing(
    ask: Any, executors: Executors, arguments: tuple[str, ...], said: str
) -> None:
    executors.playbook("careless")
    path = executors.config_dir / "playbooks" / "careless.yml"
    path.write_text(path.read_text(encoding="utf-8").replace("preserves_data: true\n", ""), encoding="utf-8")
    ran = await ask("rollback", *arguments)

    assert ran.status == 2
    assert said in ran.err
    assert await executors.events("commands") == []


async def test_what_absorbed_a_command_is_followed_to_its_end(ask: Any, executors: Executors) -> None:
    executors.playbook(between="  - {id: settle, wait: {for: 5s}}")
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    await executors.until(
        lambda found: any(item.step and item.step.id == "settle" for item in found), what="the wait"
    )
    ran = await ask("rollback", "--component", COMPONENT, "--follow", "-o", "json")
    events = [json.loads(line) for line in ran.out.splitlines()]

    assert ran.status == 0, ran.err
    assert events[0]["kind"] == "absorbed"
    assert {item["execution_id"] for item in events[1:]} == {events[0]["into"]}
    assert (events[-1]["kind"], events[-1]["requested_by"]) == ("completed", "command-1")


async def test_another_components_broken_playbook_is_only_a_warning(ask: Any, executors: Executors) -> None:
    (executors.config_dir / "playbooks" / "broken.yml").write_text("playbook: broken\n", encoding="utf-8")
    good = await ask("rollback", "--component", COMPONENT, "--dry-run")
    bad = await ask("rollback", "--component", "broken", "--dry-run")

    assert good.status == 0
    assert "broken.yml:1: the key 'deadline' is missing" in good.err
    assert bad.status == 2


async def test_status_says_when_the_executor_has_never_run(ask: Any) -> None:
    ran = await ask("status")

    assert ran.status == 1
    assert "the executor has not run on this database yet" in ran.err


async def test_pause_and_resume_at_the_command_line(ask: Any, executors: Executors) -> None:
    executors.start()
    assert (await ask("pause", "--reason", "freeze")).status == 0
    await executors.until(lambda found: any(item.kind == "paused" for item in found), what="the pause")
    assert ": freeze" in (await ask("status")).out
    assert (await ask("resume")).status == 0
    await executors.until(lambda found: any(item.kind == "resumed" for item in found), what="the resumption")
    assert "not paused" in (await ask("status")).out
