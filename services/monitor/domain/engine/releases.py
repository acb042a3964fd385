"""Which release each component runs, as a function of the log.

A release counts from the first second that is evaluated after its record was read, as a sample
does: its own second, where it is in time. Unlike a sample it moves no time: samples may take
longer to come than the word of a release. Of those that count, the one with the greatest time
is the newest, and of equal times the one appended last; so one that is announced late moves
nothing that a newer one has decided.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import msgspec

_PREFIX = b"release/"


@dataclass(frozen=True, slots=True)
class Release:
    """At ``time`` (epoch seconds) the component began to run ``version``, says the record at
    ``offset``."""

    component: str
    time: float
    version: str | None
    offset: int

    @property
    def second(self) -> int:
        """The first second whose window (T - w, T] holds the release, as for a sample."""
        return math.ceil(self.time)

    @property
    def key(self) -> bytes:
        """The key of its state on the states topic."""
        return _PREFIX + self.component.encode()

    def is_newer_than(self, other: Release | None) -> bool:
        return other is None or (self.time, self.offset) > (other.time, other.offset)

    def to_bytes(self) -> bytes:
        return msgspec.json.encode(asdict(self))


def is_release_key(key: bytes) -> bool:
    return key.startswith(_PREFIX)


def read_release(value: bytes) -> Release:
    """Raises msgspec.ValidationError or DecodeError for anything else."""
    return msgspec.json.decode(value, type=Release)


class Releases:
    """The newest release of each component of one partition, and those that do not count yet."""

    def __init__(self) -> None:
        self._newest: dict[str, Release] = {}
        self._coming: list[tuple[int, int, Release]] = []
        self._changed: set[str] = set()

    def add(self, release: Release, first: int) -> None:
        """A release that counts from second ``first`` on, which is still to be evaluated."""
        insort(self._coming, (first, release.offset, release), key=lambda entry: entry[:2])

    def recall(self, releases: Iterable[Release]) -> None:
        """The newest ones, as another process knew them."""
        self._newest.update((release.component, release) for release in releases)

    @property
    def next_first(self) -> int | None:
        """The next second at which a release begins to count."""
        return self._coming[0][0] if self._coming else None

    def begin(self, second: int) -> list[Release]:
        """Let those count that begin to at ``second``; the components' new newest ones."""
        newest: dict[str, Release] = {}
        while self._coming and self._coming[0][0] <= second:
            release = self._coming.pop(0)[2]
            if release.is_newer_than(self._newest.get(release.component)):
                newest[release.component] = self._newest[release.component] = release
        self._changed |= newest.keys()
        return list(newest.values())

    def newest(self, component: str) -> Release | None:
        return self._newest.get(component)

    def changes(self) -> dict[bytes, bytes | None]:
        """The states that changed since the last call, by key."""
        changed, self._changed = self._changed, set()
        releases = (self._newest[component] for component in sorted(changed))
        return {release.key: release.to_bytes() for release in releases}
