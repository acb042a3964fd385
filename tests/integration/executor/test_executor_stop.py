"""A planned stop in the middle of a step that may not be repeated."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from tests.integration.executor.stage import COMPONENT, Executors, poll_until, rollback
from tests.integration.executor.target import Target
from tests.polling import poll_until as poll_for

PROGRAM = """
import pathlib, sys, time
begun, done = map(pathlib.Path, sys.argv[1:])
begun.touch()
time.sleep(1)
with done.open("a") as file:
    file.write("done\\n")
"""
CHECK = """
import pathlib, sys, time
begun, done = map(pathlib.Path, sys.argv[1:])
sys.exit(0 if done.exists() and time.time() - done.stat().st_mtime > 1 else 1)
"""


class Once:
    """A step of a program that takes a second and may run once only."""

    def __init__(self, executors: Executors, directory: Path, *, observed: bool = False) -> None:
        self.executors = executors
        self.begun, self.done = directory / "begun", directory / "done"
        for name, text in (("program", PROGRAM), ("check", CHECK)):
            (directory / f"{name}.py").write_text(text, encoding="utf-8")
        argv = json.dumps([sys.executable, str(directory / "program.py"), str(self.begun), str(self.done)])
        observe = f"observe: {{process.check: {{argv: {argv.replace('program.py', 'check.py')}}}}}"
        step = f"""
        - id: once
          process: {{argv: {argv}}}
          timeout: 30s
          {observe if observed else ""}
        """
        executors.playbook(between=textwrap.indent(textwrap.dedent(step), "  "))
        self.variables = {"BACKOUT_EXECUTOR__ALLOWED_COMMANDS": json.dumps([[sys.executable]])}

    async def stop_in_the_middle(self, *, grace_s: float) -> None:
        self.executors.start(variables={**self.variables, "BACKOUT_EXECUTOR__STOP_GRACE_S": str(grace_s)})
        await self.executors.command(rollback(), event_id="command-1")
        await asyncio.to_thread(poll_for, self.begun.exists, 30.0, "the program's start")
        self.executors.signal(signal.SIGTERM)
        assert await self.executors.stopped(timeout_s=40) == 0

    async def last_of_the_step(self) -> str:
        events = await self.executors.rollbacks()
        return [event.kind for event in events if event.step is not None and event.step.id == "once"][-1]


@pytest.mark.parametrize("observed", [False, True])
async def test_what_ends_within_the_grace_is_journaled_and_the_rollback_goes_on(
    executors: Executors, target: Target, tmp_path: Path, observed: bool
) -> None:
    once = Once(executors, tmp_path, observed=observed)
    await once.stop_in_the_middle(grace_s=15)
    assert await once.last_of_the_step() == "step_completed"
    assert target.applied(COMPONENT) == ["enhanced"]

    executors.start(variables=once.variables)
    assert (await executors.ended()).status == "Success"
    assert once.done.read_text().splitlines() == ["done"]


async def test_what_does_not_is_cut_never_done_again_and_a_person_is_called(
    executors: Executors, target: Target, tmp_path: Path
) -> None:
    once = Once(executors, tmp_path)
    await once.stop_in_the_middle(grace_s=0.2)
    assert "step cut by the stop" in executors.log_of()
    assert await once.last_of_the_step() == "step_started"

    executors.start(variables=once.variables)
    end = await executors.ended()
    events = await executors.rollbacks()
    assert (end.status, end.reason) == ("Failed", "outcome_unknown")
    assert [event.kind for event in events][-2:] == ["escalation_required", "completed"]
    assert not once.done.exists()
    assert target.applied(COMPONENT) == ["enhanced"]


async def test_a_repeatable_step_is_left_at_once_and_done_by_the_next(
    executors: Executors, target: Target
) -> None:
    target.faults.pretend.add("original")
    executors.playbook(timeout="30s")
    executors.start()
    await executors.command(rollback(), event_id="command-1")

    async def accepted() -> bool:
        return any(part == "original" for part, _ in target.requests)

    await poll_until(accepted, what="the second step's request", timeout_s=30)
    executors.signal(signal.SIGTERM)
    assert await executors.stopped(timeout_s=10) == 0
    target.faults.pretend.clear()
    target._answers.clear()
    executors.start()
    assert (await executors.ended()).status == "Success"
