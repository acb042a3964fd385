"""Decisions about control requests: apply, answer again, or refuse.

Whoever controls this service may crash and repeat itself, or may be a former controller that has not
noticed its replacement. So every change has a key, under which it happens once, and an epoch, which only
rises.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from examples.docrag.routing import canonical

MAX_KEY_LENGTH = 200


class BadControlHeader(ValueError):
    """An Idempotency-Key or X-Backout-Epoch header is malformed. The message names header and mend."""


@dataclass(frozen=True)
class ControlRequest:
    """A request to change something. `epoch` is None where the caller gave none (a person at a terminal)."""

    key: str
    epoch: int | None
    method: str
    path: str
    body: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """Equal for requests that ask for the same thing."""
        wanted = {"method": self.method, "path": self.path, "body": dict(self.body)}
        return hashlib.sha256(canonical(wanted)).hexdigest()


class Verdict(Enum):
    """What to do with a control request."""

    APPLY = "apply"
    REPLAY = "replay"
    STALE_EPOCH = "stale epoch"
    KEY_REUSED = "key reused"


@dataclass(frozen=True)
class Decision:
    """A verdict, its reason in words, and the highest epoch after it."""

    verdict: Verdict
    reason: str
    highest_epoch: int


def decide(request: ControlRequest, recorded_fingerprint: str | None, highest_epoch: int) -> Decision:
    """Decide about a request, given what is recorded under its key and the highest epoch seen.

    The epoch is judged first: a former controller gets no answer that it could take for a success of its own.
    A refused request does not raise the epoch.
    """
    if request.epoch is not None and request.epoch < highest_epoch:
        reason = f"epoch {request.epoch} is older than {highest_epoch}, the highest seen for this component"
        return Decision(Verdict.STALE_EPOCH, reason, highest_epoch)
    if recorded_fingerprint is not None and recorded_fingerprint != request.fingerprint:
        reason = f"key {request.key!r} was used before with another request; use a new key"
        return Decision(Verdict.KEY_REUSED, reason, highest_epoch)
    raised = max(highest_epoch, request.epoch or 0)
    if recorded_fingerprint is not None:
        return Decision(Verdict.REPLAY, "applied before under this key", raised)
    return Decision(Verdict.APPLY, "new", raised)


class Agreement(Enum):
    """How the configuration file stands to the record in the database."""

    FIRST_START = "first start: neither is there"
    ADOPT = "the database is new: the file is taken over"
    AGREE = "file and record agree"
    ROLL_FORWARD = "the record is one change ahead of the file: the file is brought up"
    REBUILD = "the file is gone: it is written anew from the record"
    FOREIGN = "the file is neither the recorded configuration nor the one before it"


def compare(file: str | None, recorded: str | None, previous: str | None) -> Agreement:
    """Compare checksums: the file's (None: no file), the record's (None: no record), the one before it."""
    if recorded is None:
        return Agreement.FIRST_START if file is None else Agreement.ADOPT
    if file is None:
        return Agreement.REBUILD
    if file == recorded:
        return Agreement.AGREE
    return Agreement.ROLL_FORWARD if file == previous else Agreement.FOREIGN


def parse_key(header: str | None) -> str | None:
    """The Idempotency-Key, None if absent. Raises BadControlHeader."""
    if header is None:
        return None
    if not header or len(header) > MAX_KEY_LENGTH or not header.isprintable() or header.strip() != header:
        raise BadControlHeader(
            f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} printable characters without outer blanks"
        )
    return header


def parse_epoch(header: str | None) -> int | None:
    """The X-Backout-Epoch, None if absent. Raises BadControlHeader."""
    if header is None:
        return None
    if not (header.isascii() and header.isdigit() and len(header) <= 18):
        raise BadControlHeader(
            f"X-Backout-Epoch must be a whole number of at most 18 digits, not {header[:40]!r}"
        )
    return int(header)
