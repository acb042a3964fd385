"""Following one rollback on the rollbacks topic, from the moment before it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator

import typer

from chassis.consume import received
from chassis.errors import BackoutError, DependencyUnavailable, Unreadable
from chassis.kafka import Consumer, Kafka, TopicPartition
from schemas.rollbacks import RollbackEvent

_SILENCE_S = 10.0

Following = Callable[[str], AsyncIterator[RollbackEvent]]


class RollbackFailed(BackoutError):
    """The rollback that was followed did not end in Success."""


class FollowedTooLong(BackoutError):
    """The rollback had not ended when the time to follow it was over, or had not begun."""


@contextlib.asynccontextmanager
async def follow_to_end(
    kafka: Kafka, component: str, *, enabled: bool, timeout_s: float
) -> AsyncIterator[Following | None]:
    """Stand at the end of the topic; yields a function that follows what a command leads to.

    The function raises FollowedTooLong after ``timeout_s``.
    """
    if not enabled:
        yield None
        return
    partition = TopicPartition(kafka.topic("rollbacks"), 0)
    async with kafka.reader(partition) as reader:
        end = (await reader.end_offsets([partition]))[partition]
        reader.seek(partition, end)
        deadline = time.monotonic() + timeout_s

        def follow(command_id: str) -> AsyncIterator[RollbackEvent]:
            return _follow(kafka, reader, component, command_id, deadline, timeout_s)

        yield follow


async def _follow(
    kafka: Kafka, reader: Consumer, component: str, command_id: str, deadline: float, timeout_s: float
) -> AsyncIterator[RollbackEvent]:
    """What is told of the command's execution, or of the one that absorbed it, up to its end."""
    followed: str | None = None
    seen: set[tuple[str, int]] = set()
    heard = time.monotonic()
    while time.monotonic() < deadline:
        events = await _next(reader)
        if events:
            heard = time.monotonic()
        elif time.monotonic() - heard > _SILENCE_S:
            await _tell_why(kafka, component, begun=bool(seen))
            heard = time.monotonic()
        for event in events:
            place = (event.execution_id, event.sequence)
            if place in seen or not _is_ours(event, component, command_id, followed):
                continue
            seen.add(place)
            followed = event.into or followed
            yield event
            if event.kind in ("completed", "refused", "planned"):
                return
    if seen:
        raise FollowedTooLong(
            f"the rollback of {component} has not ended within {timeout_s:g} s; it goes on. "
            "`backout status` shows where it is"
        )
    raise FollowedTooLong(
        f"no executor has answered within {timeout_s:g} s: the rollback of {component} has not begun. "
        "It begins if one starts before the command expires"
    )


async def _tell_why(kafka: Kafka, component: str, *, begun: bool) -> None:
    """Nothing comes for one of three reasons; of a long step nothing has to be said."""
    try:
        await kafka.check()
    except DependencyUnavailable as error:
        # A client waits in silence for a broker that is away.
        goes_on = "The rollback goes on meanwhile; what it tells is shown once it answers"
        not_known = "Whether an executor has begun is told once it answers"
        typer.echo(f"{error}. {goes_on if begun else not_known}", err=True)
        return
    if not begun:
        typer.echo(
            f"no executor has answered: nothing of {component} is rolled back yet. "
            "`backout topics lag` shows whether one runs (backout-executor-commands)",
            err=True,
        )


@contextlib.contextmanager
def telling_of_an_interrupt() -> Iterator[None]:
    """Ctrl-C ends the following, and nothing else."""
    try:
        yield
    except asyncio.CancelledError:
        typer.echo(
            "Not followed any more. What was asked for goes on: `backout status` shows where it is, "
            "`backout pause` holds it between two steps",
            err=True,
        )
        raise


def _is_ours(event: RollbackEvent, component: str, command_id: str, followed: str | None) -> bool:
    """Whether the entry is of what the command led to; once it was absorbed, of what absorbed it."""
    if followed is not None:
        return event.execution_id == followed
    return event.requested_by == command_id and event.component == component


async def _next(reader: Consumer) -> list[RollbackEvent]:
    found = []
    for records in (await reader.getmany(timeout_ms=200)).values():
        for record in records:
            # What cannot be read is none of the executor's entries.
            with contextlib.suppress(Unreadable):
                data = received(record).event.data
                if isinstance(data, RollbackEvent):
                    found.append(data)
    return found


def words_of(event: RollbackEvent) -> str:
    """One line for a person."""
    when = event.at.strftime("%H:%M:%S")
    what = event.kind.replace("_", " ")
    if event.step is not None:
        step = event.step
        took = "" if step.duration_s is None else f" in {step.duration_s:.1f} s"
        what = f"{what} {step.index}/{step.of} {step.id}{took}"
        if step.attempt > 1:
            what += f" (attempt {step.attempt})"
        if step.status == "already_satisfied":
            what += " (it was so already)"
    if event.status is not None:
        what = f"{what}: {event.status}"
    checks = "".join(
        f"\n          {'pass' if check.passed else 'FAIL'} {check.name} {check.value} ({check.detail})"
        for check in event.checks
    )
    explains = event.kind not in ("step_started", "step_completed", "step_undone", "validated")
    why = f" ({event.why or event.reason})" if explains and (event.why or event.reason) else ""
    return f"{when} {event.progress:>3} % {what}{why}{checks}"
