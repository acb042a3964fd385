"""Every cell of the phase table, and the memory that each carries on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.monitor.domain.language.phases import (
    ANNOUNCE_EVERY_S,
    INACTIVE,
    Finding,
    Kind,
    NoData,
    Phase,
    Reason,
    State,
    Step,
    Terms,
    Verdict,
    after_silence,
    next_event_in_silence,
    step,
)

T = 1_000
PENDING = State("pending", began=T - 4, samples=5)
FIRING = State("firing", began=T - 90, samples=7, announced=T - 30)
BREACH, BETWEEN, CLEAR, NO_DATA = Verdict.BREACH, Verdict.BETWEEN, Verdict.CLEAR, Verdict.NO_DATA


def _step(
    state: State,
    verdict: Verdict,
    *,
    lasting: int = 5,
    keep: int = 0,
    min_samples: int = 1,
    no_data: NoData = "hold",
    fresh: int = 1,
    standing: int = 1,
    at: int = T,
) -> Step:
    return step(Terms(lasting, keep, min_samples, no_data), state, Finding(verdict, fresh, standing), at)


@pytest.mark.parametrize(
    ("before", "verdict", "no_data", "after", "reason", "kind"),
    [
        (INACTIVE, BREACH, "hold", "pending", "breach_began", None),
        (INACTIVE, BETWEEN, "hold", "inactive", None, None),
        (INACTIVE, CLEAR, "hold", "inactive", None, None),
        (INACTIVE, NO_DATA, "hold", "inactive", None, None),
        (INACTIVE, NO_DATA, "ok", "inactive", None, None),
        (INACTIVE, NO_DATA, "breach", "pending", "breach_began", None),
        (PENDING, BREACH, "hold", "pending", None, None),
        (PENDING, BETWEEN, "hold", "inactive", "between", None),
        (PENDING, CLEAR, "hold", "inactive", "breach_ended", None),
        (PENDING, NO_DATA, "hold", "pending", None, None),
        (PENDING, NO_DATA, "ok", "inactive", "no_data", None),
        (PENDING, NO_DATA, "breach", "pending", None, None),
        (FIRING, BREACH, "hold", "firing", None, None),
        (FIRING, BETWEEN, "hold", "firing", None, None),
        (FIRING, CLEAR, "hold", "inactive", "breach_ended", "resolved"),
        (FIRING, NO_DATA, "hold", "firing", "no_data", "no_data"),
        (FIRING, NO_DATA, "ok", "inactive", "no_data", "resolved"),
        (FIRING, NO_DATA, "breach", "firing", None, None),
    ],
)
def test_the_table(
    before: State, verdict: Verdict, no_data: NoData, after: Phase, reason: Reason, kind: Kind
) -> None:
    done = _step(before, verdict, no_data=no_data)
    assert (done.state.phase, done.reason, done.kind) == (after, reason, kind)


def test_a_breach_begins_at_its_second_and_fires_once_it_has_lasted() -> None:
    state = INACTIVE
    phases = []
    for second in range(7):
        done = _step(state, BREACH, at=T + second)
        state = done.state
        phases.append(state.phase)
        assert state.began == T
    assert phases == ["pending"] * 5 + ["firing"] * 2


def test_without_a_duration_it_fires_at_once() -> None:
    done = _step(INACTIVE, BREACH, lasting=0)
    assert (done.state.phase, done.reason, done.kind) == ("firing", "breach_began", "fired")


def test_too_few_breaching_samples_keep_it_pending_however_long() -> None:
    state = _step(INACTIVE, BREACH, lasting=0, min_samples=3, standing=1).state
    assert state.phase == "pending"
    state = _step(state, BREACH, lasting=0, min_samples=3, fresh=0, at=T + 50).state
    assert state.phase == "pending"
    state = _step(state, BREACH, lasting=0, min_samples=3, fresh=1, at=T + 51).state
    assert (state.phase, state.samples) == ("pending", 2)
    done = _step(state, BREACH, lasting=0, min_samples=3, fresh=1, at=T + 52)
    assert (done.state.phase, done.kind) == ("firing", "fired")


def test_an_empty_evaluation_satisfies_min_samples_where_no_data_is_a_breach() -> None:
    done = _step(INACTIVE, NO_DATA, lasting=0, min_samples=9, no_data="breach", fresh=0, standing=0)
    assert done.state.phase == "firing"


def test_time_without_data_is_held_back_from_the_duration() -> None:
    state = _step(INACTIVE, BREACH, at=T).state
    for second in (1, 2, 3):
        state = _step(state, NO_DATA, at=T + second).state
    assert state.held == 3
    for second in (4, 5, 6, 7):
        state = _step(state, BREACH, at=T + second).state
        assert state.phase == "pending"
    assert _step(state, BREACH, at=T + 8).state.phase == "firing"


def test_no_data_for_longer_than_the_duration_ends_it() -> None:
    state = _step(INACTIVE, BREACH, lasting=2, at=T).state
    for second in (1, 2):
        state = _step(state, NO_DATA, lasting=2, at=T + second).state
        assert state.phase == "pending"
    done = _step(state, NO_DATA, lasting=2, at=T + 3)
    assert (done.state, done.reason) == (INACTIVE, "no_data_too_long")


def test_a_new_breach_begins_anew() -> None:
    ended = _step(PENDING, CLEAR).state
    assert _step(ended, BREACH, standing=1, at=T + 1).state == State("pending", began=T + 1, samples=1)


def test_it_resolves_after_it_was_clear_for_keep_firing_for() -> None:
    state = FIRING
    for second in range(3):
        done = _step(state, CLEAR, keep=3, at=T + second)
        assert done.state.phase == "firing"
        state = done.state
    assert _step(state, CLEAR, keep=3, at=T + 3).kind == "resolved"


@pytest.mark.parametrize("verdict", [BREACH, BETWEEN])
def test_what_is_not_clear_begins_keep_firing_for_anew(verdict: Verdict) -> None:
    state = _step(FIRING, CLEAR, keep=3).state
    state = _step(state, verdict, keep=3, at=T + 1).state
    assert state.cleared is None


def test_no_data_does_not_count_as_clear() -> None:
    state = _step(FIRING, CLEAR, keep=3).state
    for second in range(1, 20):
        state = _step(state, NO_DATA, keep=3, at=T + second).state
    assert (state.phase, state.cleared) == ("firing", 0)


def test_a_firing_trigger_is_announced_every_minute() -> None:
    state, announced = FIRING, []
    for second in range(200):
        done = _step(state, BREACH, at=T + second)
        state = done.state
        if done.kind is not None:
            announced.append((second, done.kind))
    assert announced == [(30, "firing"), (90, "firing"), (150, "firing")]
    assert ANNOUNCE_EVERY_S == 60


def test_silence_is_reported_once_and_then_every_minute_and_data_ends_it() -> None:
    state, announced = FIRING, []
    for second in range(130):
        verdict = NO_DATA if second < 100 else BREACH
        done = _step(state, verdict, at=T + second)
        state = done.state
        if done.kind is not None:
            announced.append((second, done.kind))
    assert announced == [(0, "no_data"), (60, "no_data"), (120, "firing")]


SECONDS = st.integers(0, 200)
LASTING = st.integers(0, 150)


@given(
    terms=st.builds(Terms, LASTING, LASTING, st.integers(1, 3), st.sampled_from(["hold", "ok", "breach"])),
    breaching=st.integers(1, 160),
    clear=st.integers(0, 90),
    silent=SECONDS,
    untold=st.integers(-1, 400),
)
@settings(max_examples=400, deadline=None)
def test_passing_over_silence_is_what_so_many_steps_make(
    terms: Terms, breaching: int, clear: int, silent: int, untold: int
) -> None:
    """From any state that breaches, clear seconds and silence lead to, up to the next event."""
    state, at = INACTIVE, T
    for verdict in [BREACH] * breaching + [CLEAR] * clear + [NO_DATA] * silent:
        state = step(terms, state, Finding(verdict, 1, 1), at).state
        at += 1
    event = next_event_in_silence(terms, state, at, at + untold)
    passed, last = state, min(event - 1, at + 500)
    for second in range(at, last + 1):
        done = step(terms, passed, Finding(NO_DATA), second)
        assert done.state.phase == state.phase
        assert done.kind is None or second <= at + untold
        passed = done.state
        assert after_silence(terms, state, at, second) == passed
    if event == last + 1:
        done = step(terms, passed, Finding(NO_DATA), event)
        assert done.reason is not None
        assert done.state.phase != state.phase or event > at + untold
