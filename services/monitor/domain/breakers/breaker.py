"""A circuit breaker of one component: closed, open, half-open.

It is a function of signals (a check failed, recovered, is clear, is no longer clear) and of
seconds; docs/breakers.md has the table. Silence moves nothing towards closed: a check that
failed has to be *seen* clear before the breaker closes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

CheckName = Literal["response_time", "error_rate", "accuracy", "consensus"]
"""The four ways of failing that a breaker looks at (section 6.2 of the plan)."""
CHECKS: tuple[CheckName, ...] = get_args(CheckName)
BreakerState = Literal["closed", "open", "half_open"]
BreakerReason = Literal[
    "first_seen",
    "check_failed",
    "another_check_failed",
    "open_long_enough",
    "still_failing",
    "failed_again",
    "clear_long_enough",
    "settings_changed",
]


@dataclass(frozen=True, slots=True)
class BreakerTerms:
    """How long a breaker stays open and probes; all in seconds, but ``probe_share`` (0 to 1).

    An opening within ``flap_within`` of the last close, and each one out of half-open, doubles
    the time open, up to ``open_at_most``; closed for ``quiet_for`` forgets the doublings.
    """

    open_for: int
    probe_for: int
    probe_share: float
    flap_within: int
    open_at_most: int
    quiet_for: int


@dataclass(frozen=True, slots=True)
class Fallback:
    """What the application does instead, and the failed checks that it is an answer to."""

    use: str
    on: frozenset[CheckName]


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that failed at second ``at``: its value then (None: there was no data and that
    counts as failing), and since when it breached."""

    check: CheckName
    metric: str
    condition: str
    threshold: float
    value: float | None
    since: int
    at: int


@dataclass(frozen=True, slots=True)
class Signal:
    """What one check has to tell at one second."""

    check: CheckName
    tells: Literal["failed", "recovered", "clear", "unclear"]
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state with its memory; times are epoch seconds.

    ``until`` is when an open breaker becomes half-open; ``opened`` when it last opened out of
    closed (None: never). ``failing`` are the checks that fail now, ``clear`` those seen clear now
    and since when, ``failures`` what failed since ``opened``, in that order.
    """

    state: BreakerState = "closed"
    since: int = 0
    until: int | None = None
    opened: int | None = None
    doublings: int = 0
    fallback: str | None = None
    failing: frozenset[CheckName] = frozenset()
    clear: Mapping[CheckName, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """The next state, and why it is to be told (None: nothing is)."""

    breaker: Breaker
    reason: BreakerReason | None = None


def step(
    terms: BreakerTerms, fallbacks: Iterable[Fallback], breaker: Breaker, signals: Iterable[Signal], t: int
) -> Move:
    """What second ``t`` makes of a breaker; without signals, time alone."""
    fresh: list[Failure] = []
    for signal in signals:
        breaker = _take(breaker, signal, t)
        if signal.failure is not None:
            fresh.append(signal.failure)
    if breaker.state == "closed":
        return _while_closed(terms, tuple(fallbacks), breaker, fresh, t)
    if breaker.state == "open":
        return _while_open(terms, tuple(fallbacks), breaker, fresh, t)
    return _while_half_open(terms, tuple(fallbacks), breaker, fresh, t)


def next_due(terms: BreakerTerms, breaker: Breaker) -> int | None:
    """The second at which time alone moves the breaker; None if it does not."""
    if breaker.state == "open":
        return breaker.until
    if breaker.state == "half_open":
        clear_since = _clear_since(breaker)
        return None if clear_since is None else clear_since + terms.probe_for
    return None


def fallback_for(fallbacks: Iterable[Fallback], failures: Iterable[Failure]) -> str | None:
    """The first of the configured fallbacks that answers one of the failed checks."""
    failed = {failure.check for failure in failures}
    return next((fallback.use for fallback in fallbacks if fallback.on & failed), None)


def time_open(terms: BreakerTerms, doublings: int) -> int:
    """Seconds that a breaker stays open after so many doublings."""
    return min(terms.open_for << doublings, terms.open_at_most)


def _take(breaker: Breaker, signal: Signal, t: int) -> Breaker:
    check = signal.check
    match signal.tells:
        case "failed":
            return replace(breaker, failing=breaker.failing | {check})
        case "recovered":
            return replace(breaker, failing=breaker.failing - {check})
        case "clear":
            return replace(breaker, clear={**breaker.clear, check: t})
        case "unclear":
            return replace(
                breaker, clear={name: since for name, since in breaker.clear.items() if name != check}
            )


def _while_closed(
    terms: BreakerTerms, fallbacks: tuple[Fallback, ...], breaker: Breaker, fresh: list[Failure], t: int
) -> Move:
    if not fresh:
        return Move(breaker)
    doublings = breaker.doublings
    if breaker.opened is not None:
        closed_for = t - breaker.since
        if closed_for <= terms.flap_within:
            doublings = _more(terms, doublings)
        elif closed_for >= terms.quiet_for:
            doublings = 0
    return Move(_open(terms, fallbacks, breaker, fresh, t, doublings=doublings, opened=t), "check_failed")


def _while_open(
    terms: BreakerTerms, fallbacks: tuple[Fallback, ...], breaker: Breaker, fresh: list[Failure], t: int
) -> Move:
    failures = _with(breaker.failures, fresh)
    known = {failure.check for failure in breaker.failures}
    joined = any(failure.check not in known for failure in fresh)
    breaker = replace(breaker, failures=failures)
    if breaker.until is not None and t >= breaker.until:
        if breaker.failing:
            doublings = _more(terms, breaker.doublings)
            again = _open(terms, fallbacks, breaker, fresh, t, doublings=doublings, opened=breaker.opened)
            return Move(replace(again, since=breaker.since), "still_failing")
        return Move(replace(breaker, state="half_open", since=t, until=None), "open_long_enough")
    if joined:
        return Move(
            replace(breaker, fallback=fallback_for(fallbacks, failures) or breaker.fallback),
            "another_check_failed",
        )
    return Move(breaker)


def _while_half_open(
    terms: BreakerTerms, fallbacks: tuple[Fallback, ...], breaker: Breaker, fresh: list[Failure], t: int
) -> Move:
    if breaker.failing:
        doublings = _more(terms, breaker.doublings)
        again = _open(terms, fallbacks, breaker, fresh, t, doublings=doublings, opened=breaker.opened)
        return Move(again, "failed_again")
    due = next_due(terms, breaker)
    if due is not None and t >= due:
        closed = replace(breaker, state="closed", since=t, fallback=None, failures=())
        return Move(closed, "clear_long_enough")
    return Move(breaker)


def _open(
    terms: BreakerTerms,
    fallbacks: tuple[Fallback, ...],
    breaker: Breaker,
    fresh: list[Failure],
    t: int,
    *,
    doublings: int,
    opened: int | None,
) -> Breaker:
    failures = _with(breaker.failures, fresh)
    return replace(
        breaker,
        state="open",
        since=t,
        until=t + time_open(terms, doublings),
        opened=opened,
        doublings=doublings,
        fallback=fallback_for(fallbacks, failures) or breaker.fallback,
        failures=failures,
    )


def _with(failures: tuple[Failure, ...], fresh: Iterable[Failure]) -> tuple[Failure, ...]:
    """One failure a check, the newest, in the order in which the checks failed first."""
    merged = {failure.check: failure for failure in failures}
    merged.update({failure.check: failure for failure in fresh})
    return tuple(merged.values())


def _clear_since(breaker: Breaker) -> int | None:
    """Since when (at least since it is half-open) all that failed is seen clear; None: it is not."""
    failed = {failure.check for failure in breaker.failures}
    if not failed <= breaker.clear.keys():
        return None
    return max([breaker.since, *(breaker.clear[check] for check in failed)])


def _more(terms: BreakerTerms, doublings: int) -> int:
    """One doubling more, unless the greatest time is reached already."""
    return doublings if time_open(terms, doublings) >= terms.open_at_most else doublings + 1
