"""The dead man's switch: whether every partition of the metrics topic is still evaluated.

A monitor that has died cannot tell so; its silence has to. What counts is progress, not noise: a
heartbeat whose evaluation stands still is none. Partitions that fall silent together are one
*outage*, announced once; it ends, announced once, when all of them are evaluated again. One that
falls silent within an outage of its own is not announced a second time.

The switch is armed by the first heartbeat. From then on each partition is expected, one that
nobody has ever owned included, and its silence is counted from that moment. A partition without
samples is evaluated all the same: its owner tells that it has read to its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from schemas.heartbeats import Heartbeat

Reason = Literal["silent", "released", "standing_still", "never_heard"]
"""Why a partition counts as not evaluated: no heartbeat comes; its owner has let go in good order and
no other has taken it over; heartbeats come and the evaluation does not move; nobody ever owned it."""

HEARTBEATS_MISSED = 3
"""A partition is not given up before so many heartbeats in a row could have come."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of one partition: ``evaluated_at`` is when (on this side) its evaluation was last
    seen to have moved, ``heard_at`` when anything of it was last heard."""

    evaluated_at: datetime
    heard_at: datetime
    within_s: float
    instance: str = ""
    through: datetime | None = None
    next_offset: int = 0
    released: bool = False


@dataclass(frozen=True, slots=True)
class Outage:
    """Partitions that fell silent together, from the moment at which it was announced."""

    outage_id: str
    began: datetime
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is known of all partitions, and the outages that last."""

    heard: Mapping[int, Heard] = field(default_factory=dict)
    outages: tuple[Outage, ...] = ()


@dataclass(frozen=True, slots=True)
class Silent:
    """A partition that is not evaluated, why, and what was last known of it."""

    partition: int
    reason: Reason
    last: Heard


@dataclass(frozen=True, slots=True)
class Announcement:
    """An outage to be told of: that it began (``silent`` says why), or that it ended."""

    kind: Literal["evaluation_stopped", "evaluation_resumed"]
    outage: Outage
    at: datetime
    of: int
    silent: tuple[Silent, ...] = ()


def hear(known: Evaluation, heartbeats: Iterable[Heartbeat], now: datetime) -> Evaluation:
    """Take heartbeats in, in the order of their topic."""
    heard = dict(known.heard)
    for beat in heartbeats:
        expected = range(beat.partitions)
        heard = {number: heard.get(number) or Heard(now, now, beat.within_s) for number in expected}
        if beat.partition in heard:
            heard[beat.partition] = _after(heard[beat.partition], beat, now)
    return replace(known, heard=heard)


def _after(before: Heard, beat: Heartbeat, now: datetime) -> Heard:
    return Heard(
        evaluated_at=now if _has_moved(before, beat) else before.evaluated_at,
        heard_at=now,
        within_s=beat.within_s,
        instance=beat.instance,
        through=beat.through,
        next_offset=beat.next_offset,
        released=beat.kind == "released",
    )


def _has_moved(before: Heard, beat: Heartbeat) -> bool:
    if before.instance == "" or beat.through != before.through:
        return True
    # Without a sample there is no second to evaluate: then reading is all that there is to do.
    return beat.through is None and (beat.behind == 0 or beat.next_offset != before.next_offset)


def judge(
    known: Evaluation, now: datetime, *, timeout: timedelta, watching_since: datetime
) -> tuple[Evaluation, tuple[Announcement, ...]]:
    """What is to be announced at ``now``, and what is known once it is.

    ``watching_since`` is when this observer began to listen: for the third of ``timeout`` it gives
    those whom it may only not have heard yet the time to be heard.
    """
    lasting, ended = _outages(known, now, timeout)
    announcements = [Announcement("evaluation_resumed", each, now, len(known.heard)) for each in ended]
    silent = () if now - watching_since < timeout / 3 else _newly_silent(known, lasting, now, timeout)
    if silent:
        partitions = tuple(each.partition for each in silent)
        outage = Outage(f"evaluation/{partitions[0]}/{now.isoformat()}", now, partitions)
        lasting = (*lasting, outage)
        announcements.append(Announcement("evaluation_stopped", outage, now, len(known.heard), silent))
    return replace(known, outages=lasting), tuple(announcements)


def not_evaluated(known: Evaluation) -> frozenset[int]:
    """The partitions of the outages that last."""
    return frozenset(number for outage in known.outages for number in outage.partitions)


def _outages(known: Evaluation, now: datetime, timeout: timedelta) -> tuple[tuple[Outage, ...], list[Outage]]:
    """Those that last, without partitions that the topic no longer has, and those that have ended."""
    lasting, ended = [], []
    for outage in known.outages:
        partitions = tuple(number for number in outage.partitions if number in known.heard)
        over = all(
            _is_evaluated_since(known.heard[number], outage.began)
            and _age(known.heard[number], now, timeout) < 1
            for number in partitions
        )
        if over:
            ended.append(outage)
        else:
            lasting.append(replace(outage, partitions=partitions))
    return tuple(lasting), ended


def _is_evaluated_since(heard: Heard, began: datetime) -> bool:
    return not heard.released and heard.evaluated_at > began


def _newly_silent(
    known: Evaluation, lasting: Iterable[Outage], now: datetime, timeout: timedelta
) -> tuple[Silent, ...]:
    """Those over their limit that no outage holds yet, and with them those half-way there: what one
    process owned falls silent together, but is not heard of at the same moment."""
    held = {number for outage in lasting for number in outage.partitions}
    ages = {number: _age(heard, now, timeout) for number, heard in known.heard.items() if number not in held}
    if all(age < 1.0 for age in ages.values()):
        return ()
    return tuple(
        Silent(number, _reason(known.heard[number], now, timeout), known.heard[number])
        for number, age in sorted(ages.items())
        if age >= 0.5
    )


def _age(heard: Heard, now: datetime, timeout: timedelta) -> float:
    """How long it was not evaluated, as a part of the time that it may be."""
    return (now - heard.evaluated_at) / _limit(heard, timeout)


def _limit(heard: Heard, timeout: timedelta) -> timedelta:
    return max(timeout, timedelta(seconds=HEARTBEATS_MISSED * heard.within_s))


def _reason(heard: Heard, now: datetime, timeout: timedelta) -> Reason:
    if heard.instance == "":
        return "never_heard"
    if heard.released:
        return "released"
    return "silent" if now - heard.heard_at >= _limit(heard, timeout) / 2 else "standing_still"
