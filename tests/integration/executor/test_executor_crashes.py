"""The executor killed, frozen and replaced in the middle: every effect happens once all the same."""

from __future__ import annotations

import os
import signal

import pytest

from schemas.rollbacks import RollbackEvent
from tests.integration.executor.stage import COMPONENT, ROOT, Executors, poll_until, rollback
from tests.integration.executor.target import Target

WHOLE = ["enhanced", "original", "validate", "routing"]


def counted(target: Target) -> dict[str, int]:
    """How often each part of the component had an effect."""
    parts = target.applied(COMPONENT)
    return {part: parts.count(part) for part in parts}


def kinds(events: list[RollbackEvent]) -> list[str]:
    return [item.kind for item in events]


@pytest.mark.parametrize(
    "failpoint",
    [
        "after-decision=kill@1",
        "after-journal=kill@1",
        "before-intent=kill@1",
        "after-intent=kill@1",
        "after-act=kill@1",
        "before-completion=kill@1",
        "after-act=kill@3",
        "before-end=kill@1",
    ],
)
async def test_killed_anywhere_and_started_again_each_effect_happens_once(
    executors: Executors, target: Target, failpoint: str
) -> None:
    executors.start(failpoints=f"executor.{failpoint}")
    await executors.command(rollback(), event_id="command-1")
    assert await executors.stopped() == -signal.SIGKILL
    executors.start()
    end = await executors.ended()
    events = await executors.rollbacks()

    assert end.status == "Success"
    assert target.applied(COMPONENT) == WHOLE
    sequences = [item.sequence for item in events if item.execution_id == end.execution_id]
    assert sequences == list(range(1, len(sequences) + 1))
    assert kinds(events).count("started") == 1
    assert kinds(events).count("step_completed") == 4
    epochs = [item.epoch for item in events if item.epoch is not None]
    assert epochs == sorted(epochs)


async def test_killed_in_the_middle_of_an_undo_it_is_undone_once(
    executors: Executors, target: Target
) -> None:
    target.faults.refuse["original"] = (403, 1)
    executors.start(failpoints="executor.after-act=kill@3")
    await executors.command(rollback(), event_id="command-1")
    assert await executors.stopped() == -signal.SIGKILL
    executors.start()
    end = await executors.ended()

    assert end.status == "Failed"
    assert target.applied(COMPONENT) == ["enhanced", "enhanced"]
    assert target.state[COMPONENT]["enhanced"] is True


async def test_a_second_executor_takes_over_when_the_first_is_killed(
    executors: Executors, target: Target
) -> None:
    executors.start("one", failpoints="executor.after-intent=kill@2")
    await executors.command(rollback(), event_id="command-1")
    # Its outbox may not have been sent when it dies: the second one sends what is left there.
    assert await executors.stopped("one") == -signal.SIGKILL
    executors.start("two")
    end = await executors.ended()
    events = await executors.rollbacks()
    sources = {event.source for event in await executors.events()}

    assert end.status == "Success"
    assert target.applied(COMPONENT) == WHOLE
    assert kinds(events).count("owner_changed") == 1
    assert sources == {"/backout/executor/one", "/backout/executor/two"}


async def test_a_frozen_owner_that_thaws_is_fenced(executors: Executors, target: Target) -> None:
    """The first is stopped while its request is under way; the target is told to be slow, so that the
    second has finished before the first is let go."""
    target.faults.delay["original"] = 1.0
    executors.start("one")
    await executors.command(rollback(), event_id="command-1")

    async def under_way() -> bool:
        return any(part == "original" for part, _ in target.requests)

    await poll_until(under_way, what="the second step's request", timeout_s=30)
    executors.signal(signal.SIGSTOP, "one")
    target.faults.delay.clear()
    executors.start("two")
    end = await executors.ended()
    executors.signal(signal.SIGCONT, "one")

    async def gave_up() -> bool:
        return "rollback left to its new owner" in executors.log_of("one")

    await poll_until(gave_up, what="the former owner's end", timeout_s=30)
    events = await executors.rollbacks()
    assert end.status == "Success"
    assert target.applied(COMPONENT) == WHOLE
    owners = [event.source for event in await executors.events() if event.data.kind == "step_completed"]
    assert owners == ["/backout/executor/one", *["/backout/executor/two"] * 3]
    assert kinds(events)[-1] == "completed"


async def test_the_target_refuses_the_epoch_of_a_former_owner(executors: Executors, target: Target) -> None:
    """Frozen between the intent and the act: what it sends when it thaws bears the old epoch."""
    executors.start("one", failpoints="executor.before-act=freeze@2")
    await executors.command(rollback(), event_id="command-1")

    await executors.until_frozen("one")
    executors.start("two")
    assert (await executors.ended()).status == "Success"
    os.kill(executors.processes["one"].pid, signal.SIGCONT)

    async def refused() -> bool:
        return bool(target.refused_epochs)

    await poll_until(refused, what="the refusal of the old epoch", timeout_s=30)
    assert target.refused_epochs == [("original", 1)]
    assert target.applied(COMPONENT) == WHOLE


def documented_mend(epoch: int) -> str:
    """The statement that the documentation gives an operator, for this component and epoch."""
    text = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
    section = text.split("### A target that knows a newer epoch", 1)[1]
    statement = section.split("```sql", 1)[1].split(";", 1)[0]
    assert f"'{COMPONENT}'" in statement
    return statement.replace("41", str(epoch))


async def test_a_target_that_knows_a_newer_epoch_than_our_database_calls_a_person(
    executors: Executors, target: Target
) -> None:
    """As after the executor's database was restored from a backup: the lease is ours, and begins at 1."""
    target.epochs[COMPONENT] = 7
    executors.playbook(tail="on_failure: {rollback: fallback}")
    executors.playbook("fallback")
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    end = await executors.ended(timeout_s=20)
    events = await executors.rollbacks()

    assert (end.status, end.reason) == ("CriticalFailure", "fenced_by_target")
    assert "raise the epoch as docs/states.md says" in end.why
    assert target.refused_epochs == [("enhanced", 1)]
    assert target.effects == {}
    assert kinds(events).count("escalation_required") == 1
    assert {item.component for item in events} == {COMPONENT}
    assert (await executors.ask("/readyz"))["status"] == "ready"

    async def mended() -> object:
        # It waits for the executor to let go of the lease.
        return await executors.rows(documented_mend(7) + " RETURNING epoch")

    await poll_until(mended, what="the raised epoch", timeout_s=10)
    assert await executors.rows(documented_mend(7) + " RETURNING epoch") == []
    await executors.command(rollback(), event_id="command-2")
    events = await executors.until(lambda found: kinds(found).count("completed") == 2, what="the second end")
    assert (events[-1].status, events[-1].epoch) == ("Success", 8)
    assert target.applied(COMPONENT) == WHOLE


async def test_an_undo_that_the_target_fences_is_left_and_a_person_called(
    executors: Executors, target: Target
) -> None:
    target.faults.refuse["original"] = (403, 1)
    target.faults.delay["enhanced"] = 1.0
    executors.start()
    await executors.command(rollback(), event_id="command-1")

    async def under_way() -> bool:
        return any(key.endswith("/undo") for _, key in target.requests)

    await poll_until(under_way, what="the request to undo the first step", timeout_s=30)
    # Another controller is faster than the slow target.
    target.epochs[COMPONENT] = 7
    end = await executors.ended()

    assert (end.status, end.reason) == ("Failed", "fenced_by_target")
    assert "because of step restore" in end.why
    assert target.applied(COMPONENT) == ["enhanced"]


async def test_a_request_that_cannot_be_repeated_is_not_repeated(
    executors: Executors, target: Target
) -> None:
    executors.playbook(honours="", tail="on_failure: {rollback: full_system}")
    executors.start(failpoints="executor.after-intent=kill@2")
    await executors.command(rollback(), event_id="command-1")
    assert await executors.stopped() == -signal.SIGKILL
    executors.start()
    end = await executors.ended()

    assert (end.status, end.reason) == ("CriticalFailure", "outcome_unknown")
    # Nothing is undone across a request that may still land.
    assert target.applied(COMPONENT) == ["enhanced"]


async def test_one_that_cannot_be_repeated_but_was_seen_to_be_done_goes_on(
    executors: Executors, target: Target
) -> None:
    executors.playbook(honours="")
    executors.start(failpoints="executor.after-act=kill@2")
    await executors.command(rollback(), event_id="command-1")
    assert await executors.stopped() == -signal.SIGKILL
    executors.start()

    assert (await executors.ended()).status == "Success"
    assert target.applied(COMPONENT) == WHOLE


async def test_a_stop_gives_the_lease_back_at_once(executors: Executors, target: Target) -> None:
    target.faults.delay["original"] = 3.0
    lease = {"BACKOUT_EXECUTOR__LEASE_S": "60"}
    executors.start(variables=lease)
    await executors.command(rollback(), event_id="command-1")

    async def under_way() -> bool:
        return any(part == "original" for part, _ in target.requests)

    await poll_until(under_way, what="the second step's request", timeout_s=30)
    executors.signal(signal.SIGTERM)
    assert await executors.stopped() == 0
    target.faults.delay.clear()
    executors.start(variables=lease)
    # Long before the lease would have run out.
    end = await executors.ended(timeout_s=20)

    assert end.status == "Success"
    assert target.applied(COMPONENT) == WHOLE


async def test_an_unexpected_error_ends_neither_the_service_nor_the_rollback(
    executors: Executors, target: Target
) -> None:
    executors.playbook("other")
    executors.start(failpoints="executor.after-act=raise@2")
    await executors.command(rollback(), event_id="command-1")
    await executors.command(rollback("other"), event_id="command-2", component="other")
    ends = [await executors.ended(), await executors.ended("other")]

    assert [end.status for end in ends] == ["Success", "Success"]
    assert executors.processes["one"].poll() is None
    assert kinds(await executors.rollbacks()).count("owner_changed") == 1
    assert target.applied(COMPONENT) == target.applied("other") == WHOLE
    # What was in trouble is so no longer, and the service says so.
    ready = await executors.ask("/readyz")
    assert ready["problems"] == {}


async def test_the_figures_tell_what_was_decided_and_done(executors: Executors) -> None:
    executors.start()
    await executors.command(rollback("unknown"), event_id="command-1", component="unknown")
    await executors.command(rollback(), event_id="command-2")
    await executors.ended()
    figures = await executors.ask_text("/metrics")

    for line in (
        'backout_executor_decisions_total{reason="no_playbook"} 1.0',
        'backout_executor_decisions_total{reason="accepted"} 1.0',
        'backout_executor_executions_total{status="Success"} 1.0',
        'backout_executor_step_seconds_count{step="restore"} 1.0',
    ):
        assert line in figures
