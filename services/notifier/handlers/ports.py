"""What the handlers need of the world: a journal, and a channel to each kind of receiver."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from chassis.consume import Received
from services.notifier.domain.announcements import Delivery
from services.notifier.domain.attempts import Absent, Accepted, Failure, Refusals, Retry
from services.notifier.domain.entry import Entry, Settlement


class Journal(Protocol):
    """The durable record of every delivery."""

    async def now(self) -> datetime: ...

    async def record(self, item: Received, deliveries: Iterable[Delivery]) -> Sequence[Delivery] | None:
        """Record what an event causes, once; None if the event was recorded before.

        Raises Unreadable if its id came with another body, or cannot be stored.
        """

    async def claim(self, receiver: str, *, spacing: timedelta) -> Entry | None:
        """Claim the receiver's next delivery that is due, if there is one."""

    async def intend(self, entry: Entry) -> Entry | None:
        """Record that the request is about to be sent; None if the claim is lost."""

    async def postpone(self, entry: Entry, retry: Retry, *, failed: bool) -> None:
        """Give the claim back until the retry is due; whom it is still to serve is kept."""

    async def settle(self, entry: Entry, settlement: Settlement) -> bool:
        """Record the end and announce it; False if it was settled before."""


class Channel(Protocol):
    """A kind of receiver. Its methods do not raise for what a peer or a network can do."""

    timeout: timedelta
    """No request of it is under way for longer."""
    spacing: timedelta
    """The least time between two changes of one remote object."""
    can_be_asked: bool

    async def admit(self) -> None:
        """Wait until the receiver's rate limit lets one more request through."""

    async def find(self, entry: Entry) -> Accepted | Absent | Failure:
        """Ask the receiver whether it has this delivery."""

    async def send(self, entry: Entry) -> Accepted | Failure | Refusals:
        """Send it to the entry's recipients: once, without retries."""
