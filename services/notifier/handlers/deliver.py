"""Working the journal off: one worker a receiver, so that a slow one holds up nobody else.

This is the only place that retries. Every request is preceded by its intent and followed by
its record; what a crash leaves in doubt is settled by asking the receiver (domain.attempts).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import structlog

from chassis.failpoints import Failpoints
from chassis.lifecycle import until_set
from chassis.postgres import UNAVAILABLE
from services.notifier.domain.announcements import PROGRESS, too_old
from services.notifier.domain.attempts import (
    LANDING_MARGIN,
    Accepted,
    Failure,
    GiveUp,
    Refusals,
    Retry,
    Step,
    after_absence,
    legible,
    next_attempt,
    next_step,
)
from services.notifier.domain.entry import Entry, Settlement
from services.notifier.handlers.ports import Channel, Journal

log = structlog.get_logger(__name__)
_IDLE_S = 1.0
_DATABASE_WAIT_S = 0.5
_EDIT_ATTEMPTS = 3
_LATEST_START_S = LANDING_MARGIN.total_seconds() / 2


# What reading an answer of another shape than documented raises. One receiver's odd answer must
# neither stop the others nor be met again at every restart.
_UNEXPECTED_SHAPE = (LookupError, TypeError, ValueError, AttributeError, RecursionError)


class Worker:
    """Delivers to one receiver, one delivery after the other."""

    def __init__(
        self,
        receiver: str,
        channel: Channel,
        journal: Journal,
        *,
        max_attempts: int,
        max_age: timedelta,
        failpoints: Failpoints,
        settled: Callable[[Entry, Settlement], None],
        tried: Callable[[Entry, str], None],
    ) -> None:
        self._receiver = receiver
        self._channel = channel
        self._journal = journal
        self._max_attempts = max_attempts
        self._max_age = max_age
        self._failpoints = failpoints
        self._settled = settled
        self._tried = tried
        self._wake = asyncio.Event()
        self.working_on: str | None = None

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop`` is set; what is under way then is finished."""
        while not stop.is_set():
            self._wake.clear()
            try:
                entry = await self._journal.claim(self._receiver, spacing=self._channel.spacing)
                if entry is not None:
                    await self.work(entry)
                    continue
                pause = _IDLE_S
            except UNAVAILABLE as error:
                log.warning("the database is away", receiver=self._receiver, error=str(error))
                pause = _DATABASE_WAIT_S
            await until_set(self._wake, stop, timeout_s=pause)

    async def work(self, entry: Entry) -> None:
        """Take one claimed delivery as far as it goes now.

        An exception leaves it to whoever claims it once the lease has run out.
        """
        self.working_on = entry.delivery.delivery_id
        try:
            await self._work(entry)
        finally:
            self.working_on = None

    async def _work(self, entry: Entry) -> None:
        if self._is_shown(entry):
            remote_id = None if entry.shown is None else entry.shown.remote_id
            await self._settle(entry, Settlement("delivered", remote_id))
            return
        if next_step(entry.state, can_be_asked=self._channel.can_be_asked) is Step.ASK:
            if not await self._ask(entry):
                return
            log.info("sending again", delivery=entry.delivery.delivery_id, attempts=entry.attempts)
        late = too_old(entry.delivery.caused_at, await self._journal.now(), self._max_age)
        if late is None:
            await self._send(entry)
            return
        in_doubt = entry.state == "in_doubt" and not self._channel.can_be_asked
        doubt = "; whether it arrived is not known" if in_doubt else ""
        await self._settle(entry, entry.given_up(late + doubt))

    def _is_shown(self, entry: Entry) -> bool:
        """Another receiver with the same address has caused this change already."""
        return (
            entry.state == "pending"
            and entry.shown is not None
            and entry.shown.event_id == entry.delivery.event_id
        )

    async def _ask(self, entry: Entry) -> bool:
        """Settle a delivery in doubt by asking; True if it has to be sent again."""
        await self._channel.admit()
        try:
            found = legible(await self._channel.find(entry))
        except _UNEXPECTED_SHAPE as error:
            found = _misread(entry, error)
        self._tried(entry, f"asked_{type(found).__name__.lower()}")
        if isinstance(found, Accepted):
            await self._accept(entry, found)
            return False
        if isinstance(found, Failure):
            await self._after_failure(entry, found)
            return False
        sent_at = entry.sent_at or await self._journal.now()
        decision = after_absence(sent_at, self._channel.timeout, await self._journal.now())
        if isinstance(decision, Retry):
            await self._journal.postpone(entry, decision, failed=False)
            return False
        return True

    async def _send(self, entry: Entry) -> None:
        await self._channel.admit()
        begun = time.monotonic()
        channel = entry.delivery.channel
        self._failpoints.reach(f"notifier.before-intent.{channel}")
        intended = await self._journal.intend(entry)
        if intended is None:
            log.warning("claim lost", delivery=entry.delivery.delivery_id)
            return
        self._failpoints.reach(f"notifier.after-intent.{channel}")
        if time.monotonic() - begun > _LATEST_START_S:
            # Whoever takes over counts from the intent: a request that starts late could land late.
            log.warning("not sent: too late after the intent", delivery=entry.delivery.delivery_id)
            again = Retry(await self._journal.now(), "in_doubt", "not sent: too late after the intent")
            await self._journal.postpone(intended, again, failed=False)
            return
        self._failpoints.reach(f"notifier.before-send.{channel}")
        outcome = await self._request(intended, begun + _LATEST_START_S)
        self._failpoints.reach(f"notifier.after-send.{channel}")
        self._tried(intended, _result_of(outcome))
        if isinstance(outcome, Refusals):
            intended, outcome = intended.after(outcome), outcome.rest
        elif isinstance(outcome, Accepted):
            intended = intended.served()
        if isinstance(outcome, Accepted) and intended.unserved:
            words = f"an earlier mail goes first to {', '.join(intended.unserved)}"
            await self._journal.postpone(
                intended, Retry(await self._journal.now(), "pending", words), failed=False
            )
        elif isinstance(outcome, Accepted):
            await self._accept(intended, outcome)
        else:
            # What an earlier attempt left in doubt was found absent before this one, where the
            # receiver can be asked.
            doubt_before = entry.state == "in_doubt" and not self._channel.can_be_asked
            absent = not outcome.may_have_landed and not doubt_before
            await self._after_failure(replace(intended, state="pending" if absent else "in_doubt"), outcome)

    async def _request(self, entry: Entry, latest_start: float) -> Accepted | Failure | Refusals:
        """One request. Its timeout runs from ``latest_start`` (of the monotonic clock): a process that
        was stopped since then, and goes on when others took over, must not make it any more."""
        timeout = self._channel.timeout.total_seconds()
        left = max(latest_start + timeout - time.monotonic(), 0.0)
        try:
            async with asyncio.timeout(min(timeout, left)):
                return legible(await self._channel.send(entry))
        except TimeoutError:
            return Failure(f"no answer within {timeout:g} s", retryable=True, may_have_landed=True)
        except _UNEXPECTED_SHAPE as error:
            return _misread(entry, error)

    async def _accept(self, entry: Entry, accepted: Accepted) -> None:
        await self._settle(entry, entry.accepted(accepted.remote_id, accepted.place))

    async def _after_failure(self, entry: Entry, failure: Failure) -> None:
        is_edit = entry.delivery.about == PROGRESS
        decision = next_attempt(
            failure,
            entry.failures + 1,
            await self._journal.now(),
            state=entry.state,
            # The next announcement waits behind an edit, and says more than it.
            max_attempts=min(self._max_attempts, _EDIT_ATTEMPTS) if is_edit else self._max_attempts,
        )
        if isinstance(decision, GiveUp):
            await self._settle(entry, entry.given_up(decision.reason, failure.remote_id))
            return
        log.info(
            "delivery postponed",
            delivery=entry.delivery.delivery_id,
            until=decision.at.isoformat(),
            reason=decision.reason,
        )
        await self._journal.postpone(entry, decision, failed=True)

    async def _settle(self, entry: Entry, settlement: Settlement) -> None:
        if not await self._journal.settle(entry, settlement):
            return
        self._settled(entry, settlement)
        say = log.info if settlement.outcome == "delivered" else log.warning
        say(
            "delivery settled",
            delivery=entry.delivery.delivery_id,
            outcome=settlement.outcome,
            attempts=entry.attempts,
            reason=settlement.reason,
        )


def _result_of(outcome: Accepted | Failure | Refusals) -> str:
    if isinstance(outcome, Accepted):
        return "accepted"
    unanswered = isinstance(outcome, Failure) and outcome.may_have_landed
    return "unanswered" if unanswered else "refused"


def _misread(entry: Entry, error: Exception) -> Failure:
    log.error("unexpected answer", delivery=entry.delivery.delivery_id, exc_info=error)
    reason = f"an answer of an unexpected shape: {type(error).__name__} {error}"
    return legible(Failure(reason, retryable=True, may_have_landed=True))
