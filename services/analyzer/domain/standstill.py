"""Which topics the stream has stopped reading, though there is more to read.

A stream that passed records over says nothing of it. What has been handled is known from the
store, and what there is from the log: where the first has stood still short of the second for a
while, somebody has to look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Behind:
    """A topic is handled up to ``next_offset``, and has stood there since ``since`` (monotonic, s)."""

    next_offset: int
    since: float


def behind(
    known: Mapping[str, Behind], progress: Mapping[str, int], ends: Mapping[str, int], now: float
) -> dict[str, Behind]:
    """The topics that are not handled to their ends; ``known`` is the last answer."""
    found = {}
    for topic, end in ends.items():
        next_offset = progress.get(topic, 0)
        if next_offset < end:
            before = known.get(topic)
            stands = before is not None and before.next_offset == next_offset
            found[topic] = before if before is not None and stands else Behind(next_offset, now)
    return found


def stuck(found: Mapping[str, Behind], now: float, after_s: float) -> list[str]:
    """The topics that have stood still for ``after_s`` or longer."""
    return sorted(topic for topic, one in found.items() if now - one.since >= after_s)


class Standing:
    """Tells when something has been under way without getting on for so many looks in a row.

    Looks, not seconds: a process that was frozen has not looked.
    """

    def __init__(self, looks: int) -> None:
        self._limit = looks
        self._last: object = None
        self._looks = 0

    def look(self, state: object) -> bool:
        """``state`` is how far it is; None while nothing is under way."""
        self._looks = self._looks + 1 if state is not None and state == self._last else 0
        self._last = state
        return self._looks >= self._limit
