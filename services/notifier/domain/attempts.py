"""What to do next with a delivery: send, ask, wait, or give up.

A request whose answer was lost may have been carried out, and may even be carried out a
little later. Until its receiver says otherwise such a delivery is *in doubt*, and it is sent
again only when the earlier request can no longer land and the receiver does not have it:

    pending ──intent──▶ in_doubt ──accepted / found──▶ delivered
       ▲                  │  ▲
       └──refused, later──┘  └── unanswered: ask; absent and can still land: wait, ask again;
                                 absent and can no longer land: send again
    either ──refused for good, or too often──▶ failed

A mail server cannot be asked: there a delivery in doubt is sent again with the same Message-ID.
It answers for each address of a mail: only those that it refused for now are tried again
(entry.Entry.after).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal, TypeVar

from services.notifier.domain.plan import one_line

LANDING_MARGIN = timedelta(seconds=2)
"""How long past its timeout a request may still be under way."""

_FIRST_DELAY_S = 1.0
_FACTOR = 3.0
_LONGEST_DELAY_S = 300.0
LONGEST_ASKED = timedelta(minutes=15)
"""A receiver that asks for a longer wait is asked again after this: whoever waits for news of a
rollback must not wait for hours because of one header."""
_MAX_REASON = 1_000

State = Literal["pending", "in_doubt"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver has it. ``place`` is where in the receiver (Slack: the channel's id)."""

    remote_id: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Absent:
    """The receiver was asked and does not have it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not answered with success.

    ``retryable``: the same request may succeed later. ``may_have_landed``: it is not known
    whether it was carried out. ``delay_s``: what the receiver asked us to wait. ``remote_id``: what
    it is known as to those who have it.
    """

    reason: str
    retryable: bool
    may_have_landed: bool = False
    delay_s: float | None = None
    remote_id: str | None = None


@dataclass(frozen=True, slots=True)
class Refusals:
    """A server answered for each address, and refused these; whoever else was asked for has it.

    Both map an address to the answer. ``for_now``: the same request may succeed later.
    """

    remote_id: str
    for_now: Mapping[str, str]
    for_good: Mapping[str, str]

    @property
    def rest(self) -> Accepted | Failure:
        """What this means for the addresses that were not refused for good."""
        if not self.for_now:
            return Accepted(self.remote_id)
        reason = f"refused for now: {named(self.for_now)}"
        return Failure(reason, retryable=True, remote_id=self.remote_id)


Outcome = TypeVar("Outcome", bound=Accepted | Absent | Failure | Refusals)


def legible(outcome: Outcome) -> Outcome:
    """The outcome with answers that people can read and the journal can hold: what a server says may be
    in any encoding, or no text at all."""
    if isinstance(outcome, Failure):
        return replace(outcome, reason=one_line(outcome.reason, _MAX_REASON))
    if isinstance(outcome, Refusals):
        return replace(outcome, for_now=_lines(outcome.for_now), for_good=_lines(outcome.for_good))
    return outcome


def _lines(answers: Mapping[str, str]) -> dict[str, str]:
    return {address: one_line(answer) for address, answer in answers.items()}


def named(answers: Mapping[str, str]) -> str:
    """Addresses with what was answered for them."""
    return "; ".join(f"{address}: {answer}" for address, answer in answers.items())


class Step(Enum):
    """What comes next for a delivery that is due."""

    SEND = "send"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at ``at``, until then in this state."""

    at: datetime
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further try. ``reason`` is for the record."""

    reason: str


def next_step(state: State, *, can_be_asked: bool) -> Step:
    """Whether to send or first to ask."""
    return Step.ASK if state == "in_doubt" and can_be_asked else Step.SEND


def lands_until(sent_at: datetime, timeout: timedelta) -> datetime:
    """When a request that was sent then can no longer land."""
    return sent_at + timeout + LANDING_MARGIN


def after_absence(sent_at: datetime, timeout: timedelta, now: datetime) -> Retry | Step:
    """The receiver lacks a delivery in doubt: wait for the earlier request, or send again."""
    until = lands_until(sent_at, timeout)
    if now < until:
        return Retry(until, "in_doubt", "not there; the earlier request may still land")
    return Step.SEND


def next_attempt(
    failure: Failure, attempts: int, now: datetime, *, state: State, max_attempts: int
) -> Retry | GiveUp:
    """After the failed try number ``attempts`` (from 1): when to try again, or why not to.

    ``state`` is the delivery's after this failure: in doubt once a request of it may have landed.
    """
    doubt = "; whether it arrived is not known" if state == "in_doubt" else ""
    if not failure.retryable:
        return GiveUp(failure.reason + doubt)
    if attempts >= max_attempts:
        return GiveUp(f"{failure.reason}; gave up after {attempts} attempts{doubt}")
    delay = min(_FIRST_DELAY_S * _FACTOR ** (attempts - 1), _LONGEST_DELAY_S)
    if failure.delay_s is not None and math.isfinite(failure.delay_s):
        delay = min(max(failure.delay_s, 0.0), LONGEST_ASKED.total_seconds())
    return Retry(now + timedelta(seconds=delay), state, failure.reason)
