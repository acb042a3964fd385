"""A record of the breakers topic as a value; nothing but the fields that a client acts on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

State = Literal["closed", "open", "half_open"]
_PREFIX, _ALIVE = "io.backout.breakers.", "alive/"
_STATES: dict[str, State] = {"closed.v1": "closed", "open.v1": "open", "half-open.v1": "half_open"}


class UnreadableRecord(ValueError):
    """A record that is none of the breakers topic's, or of a version that this client does not know."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The latest decision about ``component``, made by the owner of ``partition``.

    ``since`` is in epoch seconds; ``probe_share`` (above 0, at most 1) matters while half-open.
    """

    component: str
    state: State
    fallback: str | None
    why: str
    since: float
    probe_share: float
    partition: int


@dataclass(frozen=True, slots=True)
class Alive:
    """The owner of ``partition`` has evaluated up to ``through`` (epoch seconds)."""

    partition: int
    through: float


@dataclass(frozen=True, slots=True)
class Removed:
    """``component`` has no breaker any more."""

    component: str


def read_record(key: bytes | None, value: bytes | None) -> Decided | Alive | Removed | None:
    """Read one record; None for one that says nothing to a client (the end of a sign of life).

    Raises UnreadableRecord. Fields that are not known are passed over.
    """
    try:
        name = (key or b"").decode()
        if value is not None:
            return _read_event(json.loads(value))
    except (ValueError, ArithmeticError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableRecord(f"{type(error).__name__}: {error}") from error
    return None if name.startswith(_ALIVE) or not name else Removed(name)


def _read_event(event: dict[str, Any]) -> Decided | Alive:
    kind, data = str(event["type"]).removeprefix(_PREFIX), event["data"]
    if kind == "alive.v1":
        return Alive(int(data["partition"]), _seconds(data["through"]))
    if kind not in _STATES:
        raise ValueError(f"{event['type']} is of a kind that this client does not read")
    share, fallback = float(data["probe_share"]), data["fallback"]
    if not 0 < share <= 1:
        raise ValueError(f"a probe_share of {share}")
    return Decided(
        component=str(data["component"]),
        state=_STATES[kind],
        fallback=None if fallback is None else str(fallback),
        why=str(data["why"]),
        since=_seconds(data["since"]),
        probe_share=share,
        partition=int(data["partition"]),
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
