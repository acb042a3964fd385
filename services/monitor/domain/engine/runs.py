"""A trigger's phase over a run of seconds that all have one verdict and no new samples.

Where samples are far apart, nearly every second repeats the one before. These functions say at
which second of such a run something happens, and what the seconds before it do to the state:
what so many calls of ``step`` would have done. ``tests/unit/monitor/test_sweep.py`` holds them
against ``step``.
"""

from __future__ import annotations

from services.monitor.domain.language.phases import ANNOUNCE_EVERY_S, State, Terms, Verdict

NEVER = 1 << 62


def next_event_in_run(terms: Terms, state: State, verdict: Verdict, first: int) -> int:
    """The next second from ``first`` on that changes the phase or tells something, if every
    second from there on has this verdict and no new sample; ``NEVER`` if none does."""
    found = _as_taken(terms, verdict)
    if state.phase == "inactive":
        return first if found is Verdict.BREACH else NEVER
    if state.phase == "pending":
        return _while_pending(terms, state, verdict, found, first)
    if found is Verdict.NO_DATA:
        return first if not state.silent else max(first, state.announced + ANNOUNCE_EVERY_S)
    due = max(first, state.announced + ANNOUNCE_EVERY_S)
    if found is not Verdict.CLEAR:
        return due
    cleared = -1 if state.cleared is None else state.cleared
    return min(due, first + max(0, terms.keep - cleared - 1))


def _while_pending(terms: Terms, state: State, verdict: Verdict, found: Verdict, first: int) -> int:
    if found is Verdict.NO_DATA:
        return first + max(0, terms.lasting - state.held)
    if found is not Verdict.BREACH:
        return first
    enough = state.samples >= terms.min_samples or verdict is Verdict.NO_DATA
    return max(first, state.began + state.held + terms.lasting) if enough else NEVER


def after_run(terms: Terms, state: State, verdict: Verdict, seconds: int) -> State:
    """The state after so many seconds of this verdict, all before ``next_event_in_run``."""
    if state.phase == "inactive" or seconds <= 0:
        return state
    found = _as_taken(terms, verdict)
    if state.phase == "pending":
        if found is Verdict.NO_DATA:
            return state._replace(held=state.held + seconds)
        if verdict is Verdict.NO_DATA:
            return state._replace(samples=max(state.samples, terms.min_samples))
        return state
    if found is Verdict.CLEAR:
        cleared = -1 if state.cleared is None else state.cleared
        return state._replace(cleared=cleared + seconds)
    if found is Verdict.NO_DATA or state.cleared is None:
        return state
    return state._replace(cleared=None)


def _as_taken(terms: Terms, verdict: Verdict) -> Verdict:
    """What the trigger takes a verdict for: missing data may count as a breach or as clear."""
    if verdict is not Verdict.NO_DATA or terms.no_data == "hold":
        return verdict
    return Verdict.CLEAR if terms.no_data == "ok" else Verdict.BREACH
