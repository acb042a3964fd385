"""Following a rollback while nothing comes."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from chassis.kafka import Consumer, Kafka
from chassis.settings import KafkaSettings
from cli import follow
from cli.follow import FollowedTooLong, telling_of_an_interrupt, words_of
from schemas.rollbacks import RollbackEvent, Step


class SaysNothing:
    """As a client is to its user whose broker is away."""

    async def getmany(self, **_: Any) -> dict[str, list[Any]]:
        return {}


async def test_a_broker_that_is_away_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(follow, "_SILENCE_S", 0.05)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        kafka = Kafka(f"127.0.0.1:{free.getsockname()[1]}", KafkaSettings(), client_id="test")
        reader = cast("Consumer", SaysNothing())
        deadline = time.monotonic() + 0.5
        told = follow._follow(kafka, reader, "extractor", "cmd-1", deadline, 0.5)
        with pytest.raises(FollowedTooLong):
            await anext(told)
    said = capsys.readouterr().err
    assert "no answer from Kafka at 127.0.0.1" in said
    assert "AddressFamily" not in said
    assert "Whether an executor has begun is told once it answers" in said


class Answers:
    """A broker that answers, of which ``check`` is asked."""

    async def check(self) -> None:
        return None


class Says:
    """A client that is given these events, and then nothing."""

    def __init__(self, *events: RollbackEvent) -> None:
        self._left = [[event] for event in events]

    async def next(self, _: Any) -> list[RollbackEvent]:
        await asyncio.sleep(0)
        return self._left.pop(0) if self._left else []


def _started() -> RollbackEvent:
    return RollbackEvent(
        kind="started",
        execution_id="rb-1",
        sequence=1,
        component="extractor",
        requested_by="cmd-1",
        reason="accepted",
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("events", "said", "ended"),
    [
        ((), "no executor has answered: nothing of extractor is rolled back yet", "has not begun"),
        ((_started(),), "", "has not ended within 0.3 s; it goes on"),
    ],
    ids=["nobody answers", "a long step"],
)
async def test_silence_before_an_executor_answers_is_told_of_and_a_long_step_is_not(
    events: tuple[RollbackEvent, ...],
    said: str,
    ended: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(follow, "_SILENCE_S", 0.05)
    monkeypatch.setattr(follow, "_next", Says(*events).next)
    kafka, reader = cast("Kafka", Answers()), cast("Consumer", None)
    told = follow._follow(kafka, reader, "extractor", "cmd-1", time.monotonic() + 0.3, 0.3)
    with pytest.raises(FollowedTooLong, match=ended):
        assert [event async for event in told] == list(events)
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert bool(err) is bool(said)


async def test_an_interrupt_says_that_the_rollback_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    async def followed() -> None:
        with telling_of_an_interrupt():
            await asyncio.sleep(60)

    task = asyncio.ensure_future(followed())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "What was asked for goes on: `backout status`" in capsys.readouterr().err


def test_a_step_that_had_nothing_to_do_says_so() -> None:
    step = Step(id="disable", index=1, of=2, action="http.call", status="already_satisfied", duration_s=0.0)
    event = _started().model_copy(update={"kind": "step_completed", "step": step})
    assert words_of(event).endswith("step completed 1/2 disable in 0.0 s (it was so already)")
