"""The life of one trigger on one group: inactive, pending, firing.

A second at which a trigger is evaluated has one of four verdicts: a breach, clear, between
the two (only with a ``clear`` threshold of its own), or no data. ``step`` says what that does
to the phase, as the table in docs/states.md has it. It is a pure function of integers, so
that live, backtest and a restart agree to the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

Phase = Literal["inactive", "pending", "firing"]
NoData = Literal["hold", "ok", "breach"]
Kind = Literal["fired", "firing", "no_data", "resolved", "superseded"]
Reason = Literal[
    "breach_began",
    "breach_lasted",
    "breach_ended",
    "between",
    "no_data",
    "no_data_too_long",
    "still_firing",
    "release_too_old",
    "superseded",
]

ANNOUNCE_EVERY_S = 60


class Verdict(IntEnum):
    """What one evaluation found."""

    NO_DATA = 0
    CLEAR = 1
    BETWEEN = 2
    BREACH = 3


@dataclass(frozen=True, slots=True)
class Terms:
    """How long and how well evidenced a breach has to be. Durations in seconds.

    With a ``quorum`` it need not be unbroken: so many of the last ``lasting`` evaluations that had
    data have to be breaches, and a firing trigger is clear once fewer than that are.
    """

    lasting: int
    keep: int = 0
    min_samples: int = 1
    no_data: NoData = "hold"
    quorum: int | None = None

    def remember(self, history: int, breaching: bool) -> int:
        """The evaluations of the quorum, one bit each, with one more."""
        return (history << 1 | breaching) & ((1 << self.lasting) - 1) if self.quorum else 0

    def is_met(self, history: int) -> bool:
        """Whether enough of the remembered evaluations are breaches."""
        return self.quorum is not None and history.bit_count() >= self.quorum


class Finding(NamedTuple):
    """One evaluation: ``fresh`` breaching samples were included for the first time, ``standing``
    breaching samples are in the window altogether. ``too_late``: it is clear only because the
    component's release is too long ago for a breach."""

    verdict: Verdict
    fresh: int = 0
    standing: int = 0
    too_late: bool = False


class State(NamedTuple):
    """The phase and its memory; times are epoch seconds.

    ``held`` counts the seconds without data since ``began``, ``samples`` the breaching samples
    since then, ``cleared`` the seconds clear while firing (None: the last verdict with data was
    not clear), ``announced`` the last announcement, and ``silent`` whether that said no_data.
    ``history`` has a bit for each of the last evaluations with data, the newest lowest: 1 for a breach
    or, while firing, for anything but clear. It is 0 without a quorum.
    """

    phase: Phase = "inactive"
    began: int = 0
    held: int = 0
    samples: int = 0
    cleared: int | None = None
    announced: int = 0
    silent: bool = False
    history: int = 0


INACTIVE = State()


class Step(NamedTuple):
    """What an evaluation did: the next state, and, unless nothing is to be told, why and with
    which kind of event (None: a transition that is not announced)."""

    state: State
    reason: Reason | None = None
    kind: Kind | None = None


def step(terms: Terms, state: State, finding: Finding, t: int) -> Step:
    """Evaluate one trigger on one group at second ``t``."""
    done = _step(terms, state, finding, t)
    if finding.too_late and done.reason == "breach_ended":
        return done._replace(reason="release_too_old")
    return done


def _step(terms: Terms, state: State, finding: Finding, t: int) -> Step:
    verdict = finding.verdict
    by_absence = verdict is Verdict.NO_DATA and terms.no_data != "hold"
    if by_absence:
        verdict = Verdict.CLEAR if terms.no_data == "ok" else Verdict.BREACH
    if state.phase == "firing":
        return _while_firing(terms, state, verdict, t, by_absence=by_absence)
    if verdict is Verdict.BREACH:
        return _breach(terms, state, finding, t, by_absence=by_absence)
    if state.phase == "inactive":
        return Step(state)
    if verdict is Verdict.NO_DATA:
        held = state.held + 1
        if held > terms.lasting:
            return Step(INACTIVE, "no_data_too_long")
        return Step(state._replace(held=held))
    if history := terms.remember(state.history, breaching=False):
        return Step(state._replace(history=history))
    if verdict is Verdict.BETWEEN:
        return Step(INACTIVE, "between")
    return Step(INACTIVE, "no_data" if by_absence else "breach_ended")


def _breach(terms: Terms, state: State, finding: Finding, t: int, *, by_absence: bool) -> Step:
    begins = state.phase == "inactive"
    began = t if begins else state.began
    samples = finding.standing if begins else state.samples + finding.fresh
    if by_absence:
        samples = max(samples, terms.min_samples)
    history = terms.remember(state.history, breaching=True)
    lasted = terms.is_met(history) if terms.quorum else t - began - state.held >= terms.lasting
    if lasted and samples >= terms.min_samples:
        fired = State("firing", began, state.held, samples, announced=t, history=history)
        return Step(fired, "breach_began" if begins else "breach_lasted", "fired")
    pending = State("pending", began, state.held, samples, history=history)
    return Step(pending, "breach_began" if begins else None)


def _while_firing(terms: Terms, state: State, verdict: Verdict, t: int, *, by_absence: bool) -> Step:
    if verdict is Verdict.NO_DATA:
        if not state.silent or _due(state, t):
            return Step(state._replace(silent=True, announced=t), "no_data", "no_data")
        return Step(state)
    if terms.quorum:
        history = terms.remember(state.history, breaching=verdict is not Verdict.CLEAR)
        state = state._replace(history=history)
        verdict = Verdict.BREACH if terms.is_met(history) else Verdict.CLEAR
    if verdict is Verdict.CLEAR:
        cleared = 0 if state.cleared is None else state.cleared + 1
        if cleared >= terms.keep:
            return Step(INACTIVE, "no_data" if by_absence else "breach_ended", "resolved")
        state = state._replace(cleared=cleared)
    elif state.cleared is not None:
        state = state._replace(cleared=None)
    if _due(state, t):
        return Step(state._replace(silent=False, announced=t), "still_firing", "firing")
    return Step(state)


def _due(state: State, t: int) -> bool:
    return t - state.announced >= ANNOUNCE_EVERY_S


def next_event_in_silence(terms: Terms, state: State, first: int, untold_through: int) -> int:
    """The next second from ``first`` on that has to be evaluated, if all of them are without data:
    one that changes the phase, or is announced later than ``untold_through``."""
    if state.phase == "inactive":
        return first if terms.no_data == "breach" else _NEVER
    if state.phase == "pending":
        if terms.no_data == "hold":
            return first + terms.lasting - state.held
        if terms.quorum:
            return first
        return first if terms.no_data == "ok" else max(first, state.began + state.held + terms.lasting)
    told = _next_announcement(terms, state, first)
    if told <= untold_through:
        told += _rounds(untold_through - told + 1) * ANNOUNCE_EVERY_S
    if terms.no_data == "hold":
        return told
    if terms.quorum:
        return first
    if terms.no_data == "breach":
        return told
    cleared = -1 if state.cleared is None else state.cleared
    return min(told, first + max(0, terms.keep - cleared - 1))


def after_silence(terms: Terms, state: State, first: int, last: int) -> State:
    """The state after the seconds ``first`` to ``last``, all without data and all before
    ``next_event_in_silence``: what so many steps would have made of it."""
    seconds = last - first + 1
    if state.phase == "inactive" or seconds <= 0:
        return state
    if state.phase == "pending":
        if terms.no_data == "hold":
            return state._replace(held=state.held + seconds)
        return state._replace(samples=max(state.samples, terms.min_samples))
    announced = _next_announcement(terms, state, first)
    if announced <= last:
        announced += (last - announced) // ANNOUNCE_EVERY_S * ANNOUNCE_EVERY_S
        state = state._replace(announced=announced, silent=terms.no_data == "hold")
    if terms.no_data == "ok":
        cleared = -1 if state.cleared is None else state.cleared
        return state._replace(cleared=cleared + seconds)
    return state._replace(cleared=None) if terms.no_data == "breach" else state


def _next_announcement(terms: Terms, state: State, first: int) -> int:
    """The next second that a firing trigger without data is announced at."""
    if terms.no_data == "hold" and not state.silent:
        return first
    return max(first, state.announced + ANNOUNCE_EVERY_S)


def _rounds(seconds: int) -> int:
    return -(-seconds // ANNOUNCE_EVERY_S)


_NEVER = 1 << 62
