"""When a delivery is sent, asked about, tried again, or given up."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from services.notifier.domain.attempts import (
    LANDING_MARGIN,
    Accepted,
    Failure,
    GiveUp,
    Refusals,
    Retry,
    State,
    Step,
    after_absence,
    lands_until,
    legible,
    next_attempt,
    next_step,
)
from tests.unit.notifier.events import NOW

TIMEOUT = timedelta(seconds=10)


@pytest.mark.parametrize(
    ("state", "can_be_asked", "step"),
    [
        ("pending", True, Step.SEND),
        ("pending", False, Step.SEND),
        ("in_doubt", True, Step.ASK),
        ("in_doubt", False, Step.SEND),
    ],
)
def test_only_doubt_asks_and_only_where_it_can(state: State, can_be_asked: bool, step: Step) -> None:
    assert next_step(state, can_be_asked=can_be_asked) is step


def test_what_is_absent_is_sent_again_only_when_it_can_no_longer_land() -> None:
    until = NOW + TIMEOUT + LANDING_MARGIN
    assert lands_until(NOW, TIMEOUT) == until

    early = after_absence(NOW, TIMEOUT, until - timedelta(milliseconds=1))
    assert isinstance(early, Retry)
    assert (early.at, early.state) == (until, "in_doubt")
    assert after_absence(NOW, TIMEOUT, until) is Step.SEND


@pytest.mark.parametrize(
    ("attempts", "delay"), [(1, 1), (2, 3), (3, 9), (4, 27), (5, 81), (6, 243), (7, 300)]
)
def test_a_passing_failure_is_tried_again_later_and_later(attempts: int, delay: int) -> None:
    failure = Failure("busy", retryable=True)
    decision = next_attempt(failure, attempts, NOW, state="pending", max_attempts=8)
    assert decision == Retry(NOW + timedelta(seconds=delay), "pending", "busy")


@pytest.mark.parametrize(
    ("asked", "delay"), [(30.0, 30), (0.0, 0), (-5.0, 0), (86_400.0, 900), (math.inf, 27), (math.nan, 27)]
)
def test_the_receivers_own_delay_is_kept_within_reason(asked: float, delay: int) -> None:
    failure = Failure("limited", retryable=True, delay_s=asked)
    decision = next_attempt(failure, 4, NOW, state="pending", max_attempts=8)
    assert decision == Retry(NOW + timedelta(seconds=delay), "pending", "limited")


def test_doubt_stays_doubt_until_the_receiver_is_asked() -> None:
    failure = Failure("no answer", retryable=True, may_have_landed=True)
    decision = next_attempt(failure, 1, NOW, state="in_doubt", max_attempts=8)
    assert isinstance(decision, Retry)
    assert decision.state == "in_doubt"


@pytest.mark.parametrize(
    ("failure", "attempts", "state", "reason"),
    [
        (Failure("invalid_auth", retryable=False), 1, "pending", "invalid_auth"),
        (Failure("busy", retryable=True), 8, "pending", "busy; gave up after 8 attempts"),
        (
            Failure("no answer", retryable=True, may_have_landed=True),
            8,
            "in_doubt",
            "no answer; gave up after 8 attempts; whether it arrived is not known",
        ),
    ],
)
def test_giving_up_says_why(failure: Failure, attempts: int, state: State, reason: str) -> None:
    assert next_attempt(failure, attempts, NOW, state=state, max_attempts=8) == GiveUp(reason)


def test_an_answer_that_is_no_text_is_made_one() -> None:
    said = b"550 Empf\xe4nger\0\r\nunbekannt".decode("utf-8", "surrogateescape")
    assert legible(Failure(said, retryable=False)).reason == "550 Empf nger unbekannt"
    refusals = legible(Refusals("<1@x>", for_now={"a@x": said}, for_good={"b@x": "ä" * 400}))
    assert refusals.for_now == {"a@x": "550 Empf nger unbekannt"}
    assert refusals.for_good == {"b@x": "ä" * 299 + "…"}
    assert legible(Accepted("<1@x>", "C1")) == Accepted("<1@x>", "C1")
