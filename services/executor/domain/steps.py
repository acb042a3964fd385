"""One step's state machine: look, and say what to do next.

A step is never acted on before it was looked at, and never again before it was looked at
again. The letters are those of the diagram in ``docs/states.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from schemas.rollbacks import Check

_FIRST_POLL_S = 0.1
_MAX_POLL_S = 2.0


class Sight(StrEnum):
    """What an observation shows of the state that a step wants."""

    DONE = "done"
    NOT_DONE = "not_done"
    IN_PROGRESS = "in_progress"
    UNKNOWN = "unknown"


class Landing(StrEnum):
    """What is known of a request after it was made: a refused one has had, and will have, no effect.

    A fenced one was refused because the target has seen a newer epoch than the one it bore.
    """

    APPLIED = "applied"
    REFUSED = "refused"
    FENCED = "fenced"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation; ``value`` is what was read, kept as the prior value before an intent."""

    sight: Sight
    detail: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Acted:
    """What became of one request; ``checks`` are those of a validation."""

    landing: Landing
    detail: str
    retryable: bool = False
    checks: tuple[Check, ...] = ()


class Do(StrEnum):
    """What comes next."""

    ACT = "act"
    OBSERVE = "observe"
    SATISFIED = "satisfied"
    COMPLETE = "complete"
    FAIL = "fail"
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True)
class Rule:
    """What the playbook says about a step. ``timeout_s`` bounds each attempt with its observation.

    Not ``observable``: only the answer tells what became of a request, and no look tells more.
    """

    attempts: int
    backoff_s: float
    timeout_s: float
    repeatable: bool
    observable: bool = True
    check_only: bool = False
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of a step in flight.

    ``attempts`` counts the intents journaled; ``since`` is when this attempt (or the first look,
    or the takeover) began; ``resumed`` while the open intent is a former owner's; ``in_doubt``
    once an attempt before this one may still land; ``looks`` counts the looks since ``since``.
    """

    since: datetime
    attempts: int = 0
    resumed: bool = False
    in_doubt: bool = False
    landing: Landing | None = None
    retryable: bool = False
    detail: str = ""
    looks: int = 0

    @property
    def may_land(self) -> bool:
        """Whether a request of this step may still have an effect that nobody has seen."""
        if self.attempts == 0:
            return False
        never_lands = self.landing in (Landing.REFUSED, Landing.FENCED)
        return self.in_doubt or self.resumed or not never_lands


@dataclass(frozen=True, slots=True)
class Move:
    """What to do next, after ``wait_s``; ``letter`` names the transition."""

    do: Do
    letter: str
    reason: str
    wait_s: float = 0.0


def next_move(rule: Rule, memory: Memory, seen: Sight, now: datetime) -> Move:
    """Decide the next move of a step from what was just seen."""
    move = _within_deadline(rule, memory, seen, now)
    past = rule.deadline is not None and now + timedelta(seconds=move.wait_s) > rule.deadline
    if move.do is not Do.ACT or not past:
        return move
    settled = memory.attempts == 0 or (not memory.may_land and seen is Sight.NOT_DONE)
    return Move(Do.FAIL if settled else Do.GIVE_UP, "j", "the playbook's deadline has passed")


def _within_deadline(rule: Rule, memory: Memory, seen: Sight, now: datetime) -> Move:
    late = now - memory.since >= timedelta(seconds=rule.timeout_s)
    if rule.check_only:
        return _check(rule, memory, seen, late)
    if memory.attempts == 0:
        return _fresh(memory, seen, late)
    if seen is Sight.DONE:
        return Move(Do.COMPLETE, "e", "done")
    if memory.resumed:
        return _resumed(rule, memory, seen, late)
    return _acted(rule, memory, seen, late)


def _check(rule: Rule, memory: Memory, seen: Sight, late: bool) -> Move:
    if seen is Sight.DONE:
        return Move(Do.COMPLETE, "e", "as expected")
    if late:
        return Move(Do.FAIL, "d", f"not as expected within {rule.timeout_s:g} s")
    return _look_again(memory, "c")


def _fresh(memory: Memory, seen: Sight, late: bool) -> Move:
    """Nothing of ours is under way."""
    if seen is Sight.DONE:
        return Move(Do.SATISFIED, "a", "it was as wanted before anything was done")
    if seen is Sight.NOT_DONE:
        return Move(Do.ACT, "b", "not done")
    if late:
        return Move(Do.FAIL, "d", f"could not be observed before acting ({seen.value})")
    return _look_again(memory, "c")


def _resumed(rule: Rule, memory: Memory, seen: Sight, late: bool) -> Move:
    """A former owner journaled an intent; whether it acted is not known."""
    if seen is Sight.NOT_DONE and rule.repeatable:
        return Move(Do.ACT, "l", "the former owner's request had no effect; the same key is sent again")
    if seen is Sight.NOT_DONE:
        return Move(Do.GIVE_UP, "m", "a former owner's request may still land, and must not be made twice")
    if not late and rule.observable:
        return _look_again(memory, "k")
    if rule.repeatable and seen is Sight.UNKNOWN:
        return Move(Do.ACT, "l", "cannot be observed; the same key is sent again")
    words = f"still {seen.value} after {rule.timeout_s:g} s"
    return Move(Do.GIVE_UP, "n", words if rule.observable else "its answer is lost, and nothing else tells")


def _acted(rule: Rule, memory: Memory, seen: Sight, late: bool) -> Move:
    """Our own request was made in this life."""
    if memory.landing is Landing.FENCED:
        # Whatever is journaled from here on is only written where the lease is still ours, and then
        # the newer epoch was none that our database gave: the next attempt would bear no better one.
        return Move(Do.GIVE_UP if memory.in_doubt else Do.FAIL, "o", memory.detail or "fenced")
    never_lands = memory.landing is Landing.REFUSED
    if seen is Sight.NOT_DONE and never_lands and not memory.retryable:
        if memory.in_doubt:
            return Move(Do.GIVE_UP, "n", f"{memory.detail or 'refused'}; an earlier request may still land")
        return Move(Do.FAIL, "g", memory.detail or "refused")
    again = rule.repeatable or never_lands
    if seen is Sight.NOT_DONE and again and (never_lands or memory.landing is Landing.UNKNOWN or late):
        return _retry(rule, memory, seen)
    if not late and rule.observable:
        return _look_again(memory, "f")
    if seen is Sight.NOT_DONE and memory.landing is Landing.APPLIED:
        # Whoever says yes may be slow: that nothing is seen of it does not mean that nothing will be.
        return Move(Do.GIVE_UP, "n", f"accepted, but not seen to be done within {rule.timeout_s:g} s")
    if again and seen is Sight.UNKNOWN:
        return _retry(rule, memory, seen)
    return Move(Do.GIVE_UP, "n", memory.detail or f"still {seen.value} after {rule.timeout_s:g} s")


def _retry(rule: Rule, memory: Memory, seen: Sight) -> Move:
    if memory.attempts < rule.attempts:
        wait = rule.backoff_s * 2 ** (memory.attempts - 1)
        return Move(Do.ACT, "h", memory.detail or "not done", wait)
    times = f"{memory.attempts} attempt{'s' if memory.attempts > 1 else ''}"
    words = f"{memory.detail or 'not done'} (after {times})"
    if seen is Sight.NOT_DONE and not memory.may_land:
        return Move(Do.FAIL, "i", words)
    return Move(Do.GIVE_UP, "n", words)


def _look_again(memory: Memory, letter: str) -> Move:
    wait = min(_FIRST_POLL_S * 2 ** min(memory.looks, 10), _MAX_POLL_S)
    return Move(Do.OBSERVE, letter, "not settled yet", wait)
