"""A limit on the groups of each trigger: a label with ever new values must not take the memory.

Groups are admitted in the order in which the log first shows them, until the trigger has as many
as its ``max_groups``; further ones are not evaluated, which is told once. Whom a log admits must
not depend on restarts, so the admitted groups are remembered (as digests of 8 bytes, in
segments, so that a new one rewrites few of them).
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as _quoted

import msgspec

from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.rules import Rule

SEGMENT = 1_000
_PREFIX = b"groups/"
_DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class Overflow:
    """At second ``at`` the log showed the group ``of``, the first that the trigger has no room for."""

    rule: Rule
    of: Group
    at: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """A segment of the groups admitted to one trigger: their digests, joined, in base64.

    ``overflowed``: a group was refused, and that was told.
    """

    trigger: str
    rule_hash: str
    segment: int
    groups: str
    overflowed: bool

    @property
    def key(self) -> bytes:
        """The key of its state on the states topic; names hold no slash."""
        return _PREFIX + f"{self.trigger}/{self.segment}".encode()

    def to_bytes(self) -> bytes:
        return msgspec.json.encode(self)


def is_groups_key(key: bytes) -> bool:
    return key.startswith(_PREFIX)


def read_admitted(value: bytes) -> Admitted:
    """Raises msgspec.ValidationError or DecodeError for anything else."""
    return msgspec.json.decode(value, type=Admitted)


@dataclass(slots=True)
class _Known:
    digests: dict[bytes, None] = field(default_factory=dict)
    overflowed: bool = False
    written: int = 0
    changed: bool = False


class Admission:
    """The groups of one partition's triggers."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = {rule.hash: rule for rule in rules}
        self._known: dict[str, _Known] = {number: _Known() for number in self._rules}
        self._overflows: list[Overflow] = []
        self._asked: tuple[Group | None, bytes] = None, b""
        """The group that was asked for last, and its digest."""

    def admits(self, rule: Rule, of: Group, at: int) -> bool:
        """Whether the group that a sample of second ``at`` shows is evaluated."""
        known, digest = self._known[rule.hash], self._digest_of(of)
        if digest in known.digests:
            return True
        if len(known.digests) < rule.max_groups:
            known.digests[digest] = None
            known.changed = True
            return True
        if not known.overflowed:
            known.overflowed = known.changed = True
            self._overflows.append(Overflow(rule, of, at))
        return False

    def _digest_of(self, of: Group) -> bytes:
        """A new group is shown to all triggers, one after the other: its digest is made once."""
        if of is not self._asked[0]:
            self._asked = of, _digest(of)
        return self._asked[1]

    def is_settled_against(self, rule: Rule, of: Group) -> bool:
        """Whether the group is refused, whenever it is shown, and nothing is to be told about that."""
        known = self._known[rule.hash]
        return known.overflowed and self._digest_of(of) not in known.digests

    def recall(self, remembered: Iterable[Admitted]) -> list[bytes]:
        """Take in what another process admitted; the keys that belong to no trigger any more."""
        obsolete = []
        for segment in sorted(remembered, key=lambda each: (each.trigger, each.segment)):
            known = self._known.get(segment.rule_hash)
            if known is None or self._rules[segment.rule_hash].name != segment.trigger:
                obsolete.append(segment.key)
                continue
            joined = b64decode(segment.groups, validate=True)
            digests = (joined[at : at + _DIGEST_BYTES] for at in range(0, len(joined), _DIGEST_BYTES))
            known.digests.update(dict.fromkeys(digests))
            known.overflowed = known.overflowed or segment.overflowed
            known.written = len(known.digests)
        return obsolete

    def overflows(self) -> list[Overflow]:
        """Those since the last call."""
        overflows, self._overflows = self._overflows, []
        return overflows

    def overflowed(self) -> list[Rule]:
        """The triggers that have refused a group."""
        return [self._rules[number] for number, known in self._known.items() if known.overflowed]

    def changes(self) -> dict[bytes, bytes | None]:
        """The states that changed since the last call, by key."""
        changes: dict[bytes, bytes | None] = {}
        for number, known in self._known.items():
            if known.changed:
                known.changed = False
                segments = self._segments(self._rules[number], known)
                changes.update((segment.key, segment.to_bytes()) for segment in segments)
        return changes

    def _segments(self, rule: Rule, known: _Known) -> Iterable[Admitted]:
        """From the last one that was written on."""
        digests = list(known.digests)
        first = max(0, known.written - 1) // SEGMENT
        known.written = len(digests)
        for begin in range(first * SEGMENT, len(digests), SEGMENT):
            joined = b64encode(b"".join(digests[begin : begin + SEGMENT])).decode()
            yield Admitted(rule.name, rule.hash, begin // SEGMENT, joined, known.overflowed)


def _digest(of: Group) -> bytes:
    """Of the group as JSON in ASCII without spaces: each new group of each trigger has one made, and
    json.dumps takes three times as long."""
    labels = ",".join([f"[{_quoted(name)},{_quoted(value)}]" for name, value in of.labels])
    text = f"[{_quoted(of.component)},[{labels}]]"
    return hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES]
