"""What becomes of requests: absorbed, refused, held, repeated, unreadable."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import pytest

from chassis.kafka import TopicPartition, read_range
from schemas.dead_letters import DeadLetterPlace
from schemas.envelope import make_event
from schemas.generate import HERE
from schemas.rollbacks import RollbackEvent
from tests.integration.executor.stage import (
    COMPONENT,
    Executors,
    pause,
    resume,
    rollback,
    trigger,
    trigger_event,
)
from tests.integration.executor.target import Target

WAIT = """
  - id: settle
    wait: {for: 3s}
"""


def of_kind(events: list[RollbackEvent], kind: str) -> list[RollbackEvent]:
    return [item for item in events if item.kind == kind]


async def reasons(executors: Executors, *wanted: str) -> list[RollbackEvent]:
    """The rollback events, once each of these reasons was announced."""
    return await executors.until(
        lambda found: {item.reason for item in found} >= set(wanted), what=f"{', '.join(wanted)}"
    )


async def dead_letters(executors: Executors) -> list[DeadLetterPlace]:
    partition = TopicPartition(executors.kafka.topic("dead-letter"), 0)
    async with executors.kafka.reader(partition) as reader:
        end = (await reader.end_offsets([partition]))[partition]
    found: list[DeadLetterPlace] = []
    await read_range(
        executors.kafka,
        partition,
        0,
        end - 1,
        each=lambda record: found.append(DeadLetterPlace.from_headers(list(record.headers))),
    )
    return found


async def test_a_trigger_is_absorbed_into_the_rollback_that_runs(
    executors: Executors, target: Target
) -> None:
    executors.playbook(between=WAIT)
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    await executors.until(lambda found: bool(of_kind(found, "step_completed")), what="the first step")
    fired = await executors.trigger("fired")
    await executors.until(lambda found: bool(of_kind(found, "absorbed")), what="the absorption")
    again = await executors.trigger("firing", began=fired.began)
    end = await executors.ended()
    events = [item for item in await executors.events() if item.data.kind == "absorbed"]

    assert end.status == "Success"
    assert [item.data.requested_by for item in events] == [fired.trigger_id]
    assert again.trigger_id == fired.trigger_id
    assert events[0].correlationid == "command-1"
    assert events[0].causationid == f"{fired.trigger_id}/fired/{fired.at.isoformat()}"
    assert end.execution_id in events[0].data.why
    assert len(target.effects) == 4


async def test_the_trace_of_a_trigger_goes_on_to_what_is_told_of_its_rollback(executors: Executors) -> None:
    """Killed in between, too: who takes over tells it by what the former owner noted."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    executors.playbook()
    executors.start(failpoints="executor.after-act=kill")
    fired = await executors.trigger("fired", traceparent=trace)
    assert await executors.stopped() == -signal.SIGKILL
    executors.start()
    end = await executors.ended()
    await executors.trigger("fired", component="nowhere", traceparent=trace.replace("4", "5"))
    await reasons(executors, "no_playbook")
    events = {event.id: event for event in await executors.events()}

    assert end.status == "Success"
    of_it = [each for each in events.values() if each.data.requested_by == fired.trigger_id]
    assert {each.data.kind for each in of_it} >= {"started", "owner_changed", "completed"}
    assert {each.traceparent for each in of_it} == {trace}
    (refused,) = [each for each in events.values() if each.data.kind == "refused"]
    assert refused.traceparent == trace.replace("4", "5")


async def test_a_pause_holds_between_steps_and_its_time_does_not_count(
    executors: Executors, target: Target
) -> None:
    executors.playbook(deadline="3s", between=WAIT.replace("3s", "500ms"))
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    await executors.until(lambda found: bool(of_kind(found, "step_completed")), what="the first step")
    await executors.command(pause(reason="a look round"), event_id="pause-1", component="full_system")
    held = await executors.until(lambda found: bool(of_kind(found, "held")), what="the hold")
    assert of_kind(held, "held")[0].why == "a look round"
    await executors.command(rollback("other"), event_id="command-2", component="other")
    await executors.trigger("fired", component="other")
    executors.signal(signal.SIGTERM)
    assert await executors.stopped() == 0
    executors.start()
    # Held still, by the new owner.
    await executors.until(lambda found: bool(of_kind(found, "owner_changed")), what="the new owner")
    assert target.applied(COMPONENT) == ["enhanced"]
    await executors.command(resume(), event_id="resume-1", component="full_system")
    end = await executors.ended()

    assert end.status == "Success"
    assert len(of_kind(await executors.rollbacks(), "held")) == 1


async def test_a_pause_refuses_what_is_new_but_an_emergency(executors: Executors, target: Target) -> None:
    executors.playbook("other")
    executors.playbook("third")
    executors.start()
    await executors.command(pause(), event_id="pause-1", component="full_system")
    # Commands and triggers are read side by side.
    await executors.until(lambda found: bool(of_kind(found, "paused")), what="the pause")
    fired = await executors.trigger("fired")
    await executors.trigger("fired", component="third", immediate=True)
    await executors.command(rollback(), event_id="command-1")
    await executors.command(rollback("other", mode="emergency"), event_id="command-2", component="other")
    end = await executors.ended("other")
    immediate = await executors.ended("third")
    events = await executors.until(lambda found: len(of_kind(found, "refused")) == 2, what="two refusals")
    refused = of_kind(events, "refused")

    assert [(item.status, item.mode) for item in (end, immediate)] == [("Success", "emergency")] * 2
    assert {item.execution_id for item in refused} == {fired.trigger_id, "command-1"}
    assert target.applied(COMPONENT) == []

    # Only an execution settles a trigger: its next announcement is decided again.
    await executors.command(resume(), event_id="resume-1", component="full_system")
    await reasons(executors, "commanded")
    await executors.until(lambda found: bool(of_kind(found, "resumed")), what="the resumption")
    # Also one that tells that it still fires, though its samples have stopped.
    await executors.trigger("no_data", began=fired.began)
    assert (await executors.ended()).requested_by == fired.trigger_id


async def test_an_emergency_frees_a_rollback_that_is_held(executors: Executors) -> None:
    executors.playbook(between=WAIT)
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    await executors.until(lambda found: bool(of_kind(found, "step_completed")), what="the first step")
    await executors.command(pause(), event_id="pause-1", component="full_system")
    await executors.until(lambda found: bool(of_kind(found, "held")), what="the hold")
    await executors.command(rollback(mode="emergency"), event_id="command-2")
    end = await executors.ended()

    assert (end.status, end.requested_by) == ("Success", "command-1")


async def test_cool_down_is_for_triggers_and_each_reason_is_announced_once(executors: Executors) -> None:
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    await executors.ended()
    fired = await executors.trigger("fired")
    await executors.trigger("firing", began=fired.began)
    await executors.trigger("fired", name="urgent", immediate=True)
    events = await executors.until(lambda found: len(of_kind(found, "completed")) == 2, what="two rollbacks")

    assert [item.reason for item in of_kind(events, "refused")] == ["refused_cool_down"]
    assert of_kind(events, "completed")[1].mode == "emergency"


async def test_a_command_counts_once_and_its_id_is_its_own(executors: Executors, target: Target) -> None:
    executors.start()
    command = rollback(reason="slow")
    for _ in range(2):
        await executors.command(command, event_id="command-1")
    await executors.command(command.model_copy(update={"component": "other"}), event_id="command-1")
    await executors.command(rollback("other"), event_id="command-2", component="other")
    await executors.ended()
    events = await reasons(executors, "no_playbook")

    assert len(of_kind(events, "started")) == 1
    assert not of_kind(events, "absorbed")
    assert [(place.reason, place.offset) for place in await dead_letters(executors)] == [("id_reused", 2)]
    assert len(target.effects) == 4


async def test_an_expired_command_and_one_that_would_lose_data_are_refused(
    executors: Executors, target: Target
) -> None:
    path = executors.config_dir / "playbooks" / f"{COMPONENT}.yml"
    path.write_text(path.read_text(encoding="utf-8").replace("preserves_data: true\n", ""), encoding="utf-8")
    now = datetime.now(UTC)
    late = {"issued_at": now - timedelta(minutes=11), "expires_at": now + timedelta(hours=1)}
    await executors.command(rollback(**late), event_id="command-1")
    await executors.command(pause(**late), event_id="pause-1", component="full_system")
    await executors.command(rollback(preserve_data=True), event_id="command-2")
    executors.start()
    events = await reasons(executors, "refused_preserve_data")

    assert [(item.execution_id, item.kind, item.reason) for item in events] == [
        ("command-1", "refused", "refused_expired"),
        ("pause-1", "refused", "refused_expired"),
        ("command-2", "refused", "refused_preserve_data"),
    ]
    assert target.requests == []


async def test_unreadable_requests_are_set_aside_and_the_next_one_is_carried_out(
    executors: Executors,
) -> None:
    good = make_event(
        rollback(),
        event_id="command-9",
        source="/test",
        time=datetime.now(UTC),
        subject=COMPONENT,
        correlationid="command-9",
    ).to_bytes()
    bad = [
        b"",
        b"\xff\xfe",
        b'{"type": "io.backout.commands.rollback.v1"',
        b"[" * 10_000,
        good.replace(b".rollback.v1", b".rollback.v2"),
        good.replace(b'"component":"extractor"', b'"component":"no such name"'),
        trigger_event(trigger("fired")),
    ]
    for value in bad:
        await executors.publish("commands", value)
    # What the monitor says of its own limits asks for nothing, and is no bad event.
    await executors.publish("triggers", (HERE / "examples" / "triggers" / "overflow.json").read_bytes())
    await executors.publish("triggers", good)
    await executors.publish("commands", good)
    executors.start()
    end = await executors.ended()
    places = {
        (place.topic.rsplit(".", 2)[1], place.offset): place.reason for place in await dead_letters(executors)
    }

    assert end.requested_by == "command-9"
    assert places == {
        ("commands", 0): "empty",
        ("commands", 1): "invalid_json",
        ("commands", 2): "invalid_json",
        ("commands", 3): "invalid_json",
        ("commands", 4): "unknown_version",
        ("commands", 5): "invalid_event",
        ("commands", 6): "unexpected_type",
        ("triggers", 1): "unexpected_type",
    }


async def test_a_trigger_that_resolves_while_it_is_held_begins_nothing(
    executors: Executors, target: Target
) -> None:
    """The pause comes between the acceptance and the first step: a target that is slow to say that it
    is fit gives it the time."""
    # As the shipped playbook: a rollback that nobody wants any more has not failed.
    executors.playbook(tail="on_failure: {rollback: full_system}")
    target.faults.healthy = False
    executors.start()
    fired = await executors.trigger("fired")
    await executors.until(lambda found: bool(of_kind(found, "started")), what="the start")
    await executors.command(pause(), event_id="pause-1", component="full_system")
    await executors.until(lambda found: bool(of_kind(found, "paused")), what="the pause")
    target.faults.healthy = True
    await executors.until(lambda found: bool(of_kind(found, "held")), what="the hold")
    await executors.trigger("resolved", began=fired.began)
    await executors.command(rollback("nothing"), event_id="marker", component="nothing")
    await reasons(executors, "no_playbook")
    await executors.command(resume(), event_id="resume-1", component="full_system")
    events = await reasons(executors, "refused_stale")
    await executors.trigger("firing", began=fired.began)
    end = await executors.ended()

    assert not of_kind(events, "escalation_required")
    assert not of_kind(events, "completed")
    # Nothing cools down after it, and a live announcement is decided again.
    assert end.status == "Success"
    assert end.requested_by == fired.trigger_id
    assert end.execution_id != of_kind(events, "started")[0].execution_id


async def test_a_command_keeps_wanted_what_its_trigger_no_longer_wants(
    executors: Executors, target: Target
) -> None:
    target.faults.healthy = False
    executors.start()
    fired = await executors.trigger("fired")
    await executors.until(lambda found: bool(of_kind(found, "started")), what="the start")
    await executors.trigger("resolved", began=fired.began)
    await executors.command(rollback(), event_id="command-1")
    await executors.until(lambda found: bool(of_kind(found, "absorbed")), what="the absorption")
    target.faults.healthy = True
    end = await executors.ended()

    assert (end.status, end.requested_by) == ("Success", fired.trigger_id)
    assert len(target.effects) == 4


async def test_what_was_accepted_before_a_restart_is_judged_by_all_that_was_announced(
    executors: Executors, target: Target
) -> None:
    """The resolution is on the log, not in the database, when the executor comes back."""
    executors.start(failpoints="executor.after-decision=kill")
    fired = await executors.trigger("fired")
    await executors.stopped()
    await executors.trigger("resolved", began=fired.began)
    executors.start()
    events = await reasons(executors, "refused_stale")

    assert [item.kind for item in events] == ["refused"]
    assert target.requests == []
    assert [row["state"] for row in await executors.rows("SELECT state FROM backout.executions")] == [
        "declined"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("playbook: extractor\n", "extractor.yml:1: the key 'deadline' is missing"),
        ("playbook: &a [*a]\n", "is not allowed"),
    ],
)
async def test_a_wrong_playbook_stops_the_start_with_its_place(
    executors: Executors, text: str, said: str
) -> None:
    (executors.config_dir / "playbooks" / f"{COMPONENT}.yml").write_text(text, encoding="utf-8")
    executors.start()

    assert await executors.stopped() == 2
    assert said in executors.log_of()
    assert "Traceback" not in executors.log_of()


async def test_an_unknown_target_stops_the_start(executors: Executors) -> None:
    executors.start(variables={"BACKOUT_EXECUTOR__TARGETS": "{}"})

    assert await executors.stopped() == 2
    assert "there is no target 'sample' in the settings" in executors.log_of()


async def test_what_the_database_cannot_hold_goes_aside_or_is_carried_out_without(
    executors: Executors,
) -> None:
    executors.start()
    soon = trigger("fired", component="other").model_copy(update={"trigger_id": "t\0", "why": "x"})
    await executors.publish("triggers", trigger_event(soon))
    late = trigger("fired", component="other", at=datetime(9999, 12, 31, tzinfo=UTC))
    await executors.publish("triggers", trigger_event(late))
    await executors.command(pause(reason="a\0b"), event_id="pause-1")
    await executors.command(resume(), event_id="resume-1")
    await executors.command(rollback(reason="its\0 reason"), event_id="command-1")
    end = await executors.ended()
    spoken = trigger("fired", component="third").model_copy(update={"why": "4000\0 is > 3000"})
    await executors.publish("triggers", trigger_event(spoken))
    (refused,) = of_kind(await reasons(executors, "no_playbook"), "refused")

    assert end.status == "Success"
    assert refused.requested_by == spoken.trigger_id
    assert [letter.reason for letter in await dead_letters(executors)] == ["invalid_event"] * 2
    assert executors.processes["one"].poll() is None


async def test_a_request_of_the_longest_id_is_answered_as_any_other(executors: Executors) -> None:
    longest = "c" * 512
    executors.start()
    await executors.command(rollback("nothing"), event_id=longest, component="nothing")
    (refused,) = await reasons(executors, "no_playbook")

    assert refused.requested_by == longest
    assert executors.processes["one"].poll() is None
