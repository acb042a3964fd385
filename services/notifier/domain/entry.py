"""A delivery as the journal has it: what was tried, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.notifier.domain.announcements import Delivery
from services.notifier.domain.attempts import State


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
    object, ``thread`` the id of the lane's first delivered delivery (what a mail replies to).
    """

    delivery: Delivery
    state: State
    attempts: int
    failures: int
    sent_at: datetime | None
    shown: LaneObject | None = None
    thread: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a delivery ended."""

    outcome: Literal["delivered", "failed", "not_configured"]
    remote_id: str | None = None
    reason: str = ""
    shown: LaneObject | None = None
