"""What becomes of a request: the decision about each trigger and each command.

The order of the questions is the order of the answers a person needs: is it still true, can it
be done at all, is it being done, may it be done now. Every answer has a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from schemas.commands import Command, RollbackCommand
from schemas.triggers import ActionKind, TriggerEvent

MAX_AHEAD = timedelta(seconds=60)
"""How far the clock of whoever issues a command may be ahead."""


class Reason(StrEnum):
    """The named reasons of a decision about a request."""

    ACCEPTED = "accepted"
    SHADOWED = "shadowed"
    ABSORBED = "absorbed"
    SETTLED = "settled"
    STALE = "refused_stale"
    EXPIRED = "refused_expired"
    PAUSED = "refused_paused"
    COOL_DOWN = "refused_cool_down"
    LOSES_DATA = "refused_preserve_data"
    NO_PLAYBOOK = "no_playbook"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Decision:
    """``why`` is for people: the facts that the reason stands for."""

    reason: Reason
    why: str


@dataclass(frozen=True, slots=True)
class PlaybookFacts:
    """What a decision needs to know of a playbook."""

    shadow: bool
    preserves_data: bool


@dataclass(frozen=True, slots=True)
class World:
    """How things stand for the component that a request is about.

    ``running`` is the live execution's id; ``last_ended`` when the component's last one ended.
    """

    playbook: PlaybookFacts | None
    running: str | None
    last_ended: datetime | None
    paused: bool
    paused_why: str = ""


@dataclass(frozen=True, slots=True)
class TriggerFacts:
    """A trigger as its events tell. ``announced_at`` is T of the newest ``fired``, ``firing`` or
    ``no_data`` (it fires, and has no samples); ``over`` is ``resolved`` or ``superseded`` once that
    was announced at or after it."""

    trigger: str
    action: ActionKind
    target: str
    announced_at: datetime
    over: str | None
    immediate: bool
    settled_by: str | None


@dataclass(frozen=True, slots=True)
class KnownTrigger:
    """A trigger's newest announcement, and which reasons were announced about it. ``declined`` counts
    the executions for it that were declined before they began, ``traceparent`` is the announcement's."""

    event: TriggerEvent
    event_id: str
    facts: TriggerFacts
    announced: frozenset[str]
    declined: int = 0
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """A live execution and the incident that it belongs to."""

    execution_id: str
    incident_id: str


@dataclass(frozen=True, slots=True)
class Gates:
    """The bounds of the settings."""

    trigger_max_age: timedelta
    command_max_age: timedelta
    cool_down: timedelta


def decide_trigger(facts: TriggerFacts, world: World, gates: Gates, now: datetime) -> Decision:
    """Decide about a trigger, once its topic has been read to the end.

    An immediate one passes the pause and the cool-down, as a person's emergency does.
    """
    if facts.action != "rollback":
        return Decision(Reason.UNSUPPORTED, f"the action {facts.action} is not available in this version")
    if facts.settled_by is not None:
        return Decision(Reason.SETTLED, f"{facts.settled_by} was started for it")
    stale = staleness(facts, gates, now)
    if stale is not None:
        return Decision(Reason.STALE, stale)
    if world.playbook is None:
        return _no_playbook(facts.target)
    if world.running is not None:
        return Decision(Reason.ABSORBED, f"{world.running} is running for {facts.target}")
    if world.paused and not facts.immediate:
        return Decision(Reason.PAUSED, _paused_words(world))
    if not facts.immediate and world.last_ended is not None:
        again = world.last_ended + gates.cool_down
        if now < again:
            return Decision(Reason.COOL_DOWN, f"cooling down until {again.isoformat(timespec='seconds')}")
    return _accepted(world.playbook)


def staleness(facts: TriggerFacts, gates: Gates, now: datetime) -> str | None:
    """Why a trigger no longer says how things are now, or None."""
    if facts.over is not None:
        return f"the trigger was {facts.over} before anything was started"
    age = now - facts.announced_at
    if age > gates.trigger_max_age:
        return (
            f"last announced for {facts.announced_at.isoformat(timespec='seconds')}, "
            f"{age.total_seconds():.0f} s ago, more than {gates.trigger_max_age.total_seconds():.0f} s"
        )
    return None


def no_longer_wanted(triggers: Sequence[TriggerFacts], gates: Gates, now: datetime) -> str | None:
    """Why none of the triggers that wait for one execution says how things are now, or None."""
    why = [staleness(facts, gates, now) for facts in triggers]
    stale = [words for words in why if words is not None]
    return "; ".join(dict.fromkeys(stale)) if stale and len(stale) == len(why) else None


def expiry(command: Command, gates: Gates, now: datetime) -> str | None:
    """Why a command is too old to be carried out, or None.

    One from the future would outlive what the settings allow: whoever issued it has a wrong clock.
    """
    ahead = command.issued_at - now
    if ahead > MAX_AHEAD:
        return (
            f"issued {ahead.total_seconds():.0f} s in the future: set the clock of whoever issued it, "
            "and issue it again"
        )
    ends = min(command.expires_at, command.issued_at + gates.command_max_age)
    if now <= ends:
        return None
    return f"expired at {ends.isoformat(timespec='seconds')}"


def decide_command(command: RollbackCommand, world: World, gates: Gates, now: datetime) -> Decision:
    """Decide about a person's command. Cool-down is for triggers only; an emergency passes the pause."""
    expired = expiry(command, gates, now)
    if expired is not None:
        return Decision(Reason.EXPIRED, expired)
    if world.playbook is None:
        return _no_playbook(command.component)
    if command.preserve_data and not world.playbook.preserves_data:
        return Decision(
            Reason.LOSES_DATA, f"the playbook {command.component} does not say `preserves_data: true`"
        )
    if world.running is not None:
        return Decision(Reason.ABSORBED, f"{world.running} is running for {command.component}")
    if world.paused and command.mode != "emergency":
        return Decision(Reason.PAUSED, _paused_words(world))
    return _accepted(world.playbook)


def _accepted(playbook: PlaybookFacts) -> Decision:
    if playbook.shadow:
        return Decision(Reason.SHADOWED, "the playbook is in shadow mode: its plan is announced, not done")
    return Decision(Reason.ACCEPTED, "all gates are open")


def _no_playbook(component: str) -> Decision:
    return Decision(Reason.NO_PLAYBOOK, f"there is no playbook for {component}")


def _paused_words(world: World) -> str:
    return f"rollbacks are paused: {world.paused_why}" if world.paused_why else "rollbacks are paused"
