"""The table of docs/breakers.md, cell by cell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.monitor.domain.breakers.breaker import (
    Breaker,
    BreakerReason,
    BreakerState,
    CheckName,
    Failure,
    Move,
    Signal,
    fallback_for,
    next_due,
    step,
    time_open,
)
from tests.unit.monitor.breaker_log import FALLBACKS, TERMS

CLOSED = Breaker(since=100)


def failure(check: CheckName = "response_time", at: int = 200) -> Failure:
    return Failure(check, "m", "> 10", 10.0, 12.0, at - 5, at)


def fails(check: CheckName = "response_time", at: int = 200) -> Signal:
    return Signal(check, "failed", failure(check, at))


OPEN = Breaker(
    "open",
    since=200,
    until=220,
    opened=200,
    fallback="cached",
    failing=frozenset({"response_time"}),
    failures=(failure(),),
)
SILENT = replace(OPEN, failing=frozenset())
HALF = replace(SILENT, state="half_open", since=220, until=None)
CLEAR = replace(HALF, clear={"response_time": 225})
CLOSED_AGAIN = Breaker(since=300, opened=200)

RECOVERED = Signal("response_time", "recovered")
IS_CLEAR = Signal("response_time", "clear")
UNCLEAR = Signal("response_time", "unclear")


def after(breaker: Breaker, *signals: Signal, at: int) -> Move:
    return step(TERMS, FALLBACKS, breaker, signals, at)


@pytest.mark.parametrize(
    ("breaker", "signals", "at", "state", "reason"),
    [
        (CLOSED, (), 200, "closed", None),
        (CLOSED, (IS_CLEAR,), 200, "closed", None),
        (CLOSED, (UNCLEAR,), 200, "closed", None),
        (CLOSED, (fails(),), 200, "open", "check_failed"),
        (CLOSED, (IS_CLEAR, fails("accuracy")), 200, "open", "check_failed"),
        (OPEN, (), 219, "open", None),
        (OPEN, (RECOVERED,), 210, "open", None),
        (OPEN, (RECOVERED, IS_CLEAR), 219, "open", None),
        (OPEN, (fails("accuracy", 210),), 210, "open", "another_check_failed"),
        (SILENT, (fails("response_time", 210),), 210, "open", None),
        (OPEN, (), 220, "open", "still_failing"),
        (OPEN, (RECOVERED,), 220, "half_open", "open_long_enough"),
        (SILENT, (), 220, "half_open", "open_long_enough"),
        (SILENT, (fails("accuracy", 220),), 220, "open", "still_failing"),
        (HALF, (), 10_000, "half_open", None),
        (HALF, (IS_CLEAR,), 225, "half_open", None),
        (CLEAR, (), 234, "half_open", None),
        (CLEAR, (), 235, "closed", "clear_long_enough"),
        (CLEAR, (UNCLEAR,), 235, "half_open", None),
        (CLEAR, (fails("response_time", 230),), 230, "open", "failed_again"),
        (CLEAR, (fails("accuracy", 235),), 235, "open", "failed_again"),
    ],
)
def test_each_cell(
    breaker: Breaker, signals: tuple[Signal, ...], at: int, state: BreakerState, reason: BreakerReason | None
) -> None:
    move = after(breaker, *signals, at=at)
    assert (move.breaker.state, move.reason) == (state, reason)


def test_silence_never_closes_a_half_open_breaker() -> None:
    assert next_due(TERMS, HALF) is None
    assert next_due(TERMS, CLEAR) == 235
    assert next_due(TERMS, after(CLEAR, UNCLEAR, at=230).breaker) is None


def test_clear_data_from_before_the_probe_counts_from_its_beginning() -> None:
    seen_clear_while_open = replace(SILENT, clear={"response_time": 205})
    half = after(seen_clear_while_open, at=220).breaker
    assert next_due(TERMS, half) == 230


def test_every_check_that_failed_has_to_be_seen_clear() -> None:
    both = after(OPEN, fails("accuracy", 210), at=210).breaker
    quiet = after(both, RECOVERED, Signal("accuracy", "recovered"), at=215).breaker
    half = after(quiet, at=220).breaker
    one = after(half, IS_CLEAR, at=221).breaker
    assert next_due(TERMS, one) is None
    assert next_due(TERMS, after(one, Signal("accuracy", "clear"), at=224).breaker) == 234


def test_a_check_that_did_not_fail_needs_no_data() -> None:
    closed = after(CLEAR, at=235).breaker
    assert "consensus" not in closed.clear
    assert closed.failures == ()
    assert closed.fallback is None


@pytest.mark.parametrize(
    ("failed", "use"),
    [
        (("response_time",), "cached"),
        (("error_rate",), "cached"),
        (("accuracy",), "reject"),
        (("consensus",), "single_node"),
        (("response_time", "consensus"), "single_node"),
        (("accuracy", "error_rate"), "cached"),
        ((), None),
    ],
)
def test_the_first_fallback_that_answers_a_failed_check(
    failed: tuple[CheckName, ...], use: str | None
) -> None:
    assert fallback_for(FALLBACKS, [failure(check) for check in failed]) == use


def test_another_failed_check_may_lead_to_another_fallback() -> None:
    move = after(OPEN, fails("consensus", 210), at=210)
    assert move.breaker.fallback == "single_node"
    assert move.breaker.until == OPEN.until
    assert [each.check for each in move.breaker.failures] == ["response_time", "consensus"]


def test_each_opening_out_of_half_open_doubles_the_time_up_to_the_limit() -> None:
    breaker, at, lengths = after(CLOSED, fails(), at=200).breaker, 200, []
    for _ in range(4):
        assert breaker.until is not None
        lengths.append(breaker.until - at)
        half = after(breaker, RECOVERED, at=breaker.until).breaker
        at = half.since + 3
        breaker = after(half, fails(at=at), at=at).breaker
    assert lengths == [20, 40, 70, 70]
    assert breaker.doublings == 2
    assert breaker.opened == 200


@pytest.mark.parametrize(
    ("doublings", "closed_for", "then"),
    [(0, 60, 1), (0, 61, 0), (1, 60, 2), (1, 61, 1), (1, 199, 1), (1, 200, 0)],
)
def test_opening_soon_after_closing_is_flapping_and_quiet_forgets_it(
    doublings: int, closed_for: int, then: int
) -> None:
    at = 300 + closed_for
    move = after(replace(CLOSED_AGAIN, doublings=doublings), fails(at=at), at=at)
    assert move.breaker.doublings == then
    assert move.breaker.until == at + time_open(TERMS, then)
    assert move.breaker.opened == at


def test_what_is_still_failing_when_it_is_to_be_probed_stays_open_for_longer() -> None:
    move = after(OPEN, at=220)
    assert move.breaker.until == 220 + 40
    assert move.breaker.since == 200
    assert move.breaker.fallback == "cached"
