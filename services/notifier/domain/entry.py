"""A delivery as the journal has it: what was tried, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from services.notifier.domain.announcements import Delivery
from services.notifier.domain.attempts import Refusals, State, named


@dataclass(frozen=True, slots=True)
class LaneObject:
    """The remote object of a lane (a Slack message, a page's incident) and the event it shows."""

    remote_id: str
    place: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A claimed delivery.

    ``attempts`` counts requests, ``failures`` tries that failed. ``shown`` is the lane's remote
    object, ``thread`` the id of the lane's first delivery that somebody has (what a mail replies to).
    ``unserved`` is who of the addresses is still to be told, None for all of them; ``refused``
    maps the addresses that were refused for good to the answers. ``held_back`` is who has not got an
    earlier mail of the lane yet, and must not read the end of a rollback before its start.
    """

    delivery: Delivery
    state: State
    attempts: int
    failures: int
    sent_at: datetime | None
    shown: LaneObject | None = None
    thread: str | None = None
    unserved: tuple[str, ...] | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    held_back: tuple[str, ...] = ()

    @property
    def recipients(self) -> tuple[str, ...]:
        """Whom the next request is for."""
        return tuple(address for address in self._left if address not in self.held_back)

    @property
    def _left(self) -> tuple[str, ...]:
        return self.delivery.addresses if self.unserved is None else self.unserved

    def served(self) -> Entry:
        """What is left to do once a request's recipients have it: who was held back."""
        return self._leaving(())

    def after(self, refusals: Refusals) -> Entry:
        """What is left to do once a request was refused for some of its addresses."""
        refused = {**self.refused, **refusals.for_good}
        return replace(self._leaving(tuple(refusals.for_now)), refused=refused)

    def _leaving(self, unserved: tuple[str, ...]) -> Entry:
        waiting = tuple(address for address in self._left if address in self.held_back)
        return replace(self, unserved=(*waiting, *unserved))

    def accepted(self, remote_id: str, place: str) -> Settlement:
        """How the delivery ends when nobody is left to serve: a person who cannot be told makes it
        a failure, whoever else was told."""
        if self.refused:
            nobody = len(self.refused) == len(set(self.delivery.addresses))
            reason = f"refused for good: {named(self.refused)}"
            return Settlement("failed", None if nobody else remote_id, reason)
        return Settlement("delivered", remote_id, shown=LaneObject(remote_id, place, self.delivery.event_id))

    def given_up(self, reason: str, remote_id: str | None = None) -> Settlement:
        """How it ends when no further try is made; names who was not told, where others were. Those
        have it as ``remote_id``, and what follows may refer to that."""
        served = len(self._left) + len(self.refused) < len(set(self.delivery.addresses))
        if self.unserved is not None:
            reason = f"{reason}; not told: {', '.join(self.unserved)}"
        if self.refused:
            reason = f"{reason}; refused for good: {named(self.refused)}"
        return Settlement("failed", remote_id if served else None, reason)


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a delivery ended."""

    outcome: Literal["delivered", "failed", "not_configured"]
    remote_id: str | None = None
    reason: str = ""
    shown: LaneObject | None = None
