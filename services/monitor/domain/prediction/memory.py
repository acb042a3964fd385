"""What is remembered of predictions: a record for each series, and one for each open alert.

A series' record holds all that the model knows of it, some 9 KiB, and the offset up to which it has
read. So the records of different series may be of different ages: a restart re-reads from the
oldest sample that some record lacks, and each series takes in only what it has not seen. Which
alerts are open is written with the event that tells it, so that one whose definition is no more
can be ended.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache

import msgspec

from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.rules import labels_digest
from services.monitor.domain.prediction import prior
from services.monitor.domain.prediction.alerts import PredictiveAlert
from services.monitor.domain.prediction.predictor import FORMAT
from services.monitor.domain.prediction.raised import Raised, Told

_SERIES, _OPEN = b"series/", b"open/"


@dataclass(frozen=True, slots=True)
class RememberedSeries:
    """One group of one alert, as of ``next_offset``; ``model`` are the bytes of its row."""

    definition: str
    alert: PredictiveAlert
    of: Group
    next_offset: int
    first_offset: int
    samples: int
    raised: Raised | None
    model: bytes

    @property
    def key(self) -> bytes:
        return _key(_SERIES, self.alert.model, self.of)

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(self)


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert that was raised and has not ended."""

    definition: str
    alert: PredictiveAlert
    of: Group
    raised: Raised

    @property
    def key(self) -> bytes:
        return _key(_OPEN, self.alert.model, self.of)

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def of_told(cls, told: Told) -> OpenAlert:
        """What is open after an alert was raised; its key is that of the record which its end empties."""
        return cls(definition_of(told.alert), replace(told.alert, place=""), told.of, told.raised)


@cache
def definition_of(alert: PredictiveAlert) -> str:
    """What a series' memory is good for: all of the alert but its confidence, the format and the
    prior. With another one, predictions begin anew."""
    defined = {
        "model": alert.model,
        "metric": alert.metric,
        "breach": [alert.breach.operator, alert.breach.threshold],
        "horizon": alert.horizon,
        "group_by": sorted(alert.group_by),
        "format": FORMAT,
        "prior": hashlib.sha256("".join(prior.LINES).encode()).hexdigest(),
    }
    text = json.dumps(defined, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _key(prefix: bytes, model: str, of: Group) -> bytes:
    """The key of a record; names hold no slash."""
    further = f"/{labels_digest(of)}" if of.labels else ""
    return prefix + f"{model}/{of.component}{further}".encode()


def read_remembered(key: bytes, value: bytes) -> RememberedSeries | OpenAlert:
    """Raises msgspec.ValidationError or DecodeError for anything else."""
    if key.startswith(_OPEN):
        return msgspec.msgpack.decode(value, type=OpenAlert)
    return msgspec.msgpack.decode(value, type=RememberedSeries)
