"""The step's state machine, transition by transition; the letters are those of docs/states.md."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.domain.steps import Do, Landing, Memory, Rule, Sight, next_move

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
LATE = NOW - timedelta(seconds=60)
RULE = Rule(attempts=3, backoff_s=1.0, timeout_s=60.0, repeatable=True)
ONCE = replace(RULE, repeatable=False)
BLIND = replace(RULE, observable=False)
FRESH = Memory(since=NOW)
ACTED = Memory(since=NOW, attempts=1, landing=Landing.APPLIED)
REFUSED = replace(ACTED, landing=Landing.REFUSED, detail="answered 403")
BUSY = replace(REFUSED, retryable=True, detail="answered 503")
FENCED = replace(ACTED, landing=Landing.FENCED, detail="refuses epoch 1")
LOST = replace(ACTED, landing=Landing.UNKNOWN, retryable=True, detail="no answer in time")
TAKEN_OVER = Memory(since=NOW, attempts=1, resumed=True)
CASES: list[tuple[str, Rule, Memory, Sight, Do]] = [
    # Nothing of ours is under way.
    ("a", RULE, FRESH, Sight.DONE, Do.SATISFIED),
    ("b", RULE, FRESH, Sight.NOT_DONE, Do.ACT),
    ("b", ONCE, FRESH, Sight.NOT_DONE, Do.ACT),
    ("c", RULE, FRESH, Sight.UNKNOWN, Do.OBSERVE),
    ("c", RULE, FRESH, Sight.IN_PROGRESS, Do.OBSERVE),
    ("d", RULE, replace(FRESH, since=LATE), Sight.UNKNOWN, Do.FAIL),
    # A check changes nothing.
    ("e", replace(RULE, check_only=True), FRESH, Sight.DONE, Do.COMPLETE),
    ("c", replace(RULE, check_only=True), FRESH, Sight.NOT_DONE, Do.OBSERVE),
    ("d", replace(RULE, check_only=True), replace(FRESH, since=LATE), Sight.NOT_DONE, Do.FAIL),
    # We acted.
    ("e", RULE, ACTED, Sight.DONE, Do.COMPLETE),
    ("e", RULE, REFUSED, Sight.DONE, Do.COMPLETE),
    ("e", ONCE, LOST, Sight.DONE, Do.COMPLETE),
    ("f", RULE, ACTED, Sight.NOT_DONE, Do.OBSERVE),
    ("f", RULE, ACTED, Sight.IN_PROGRESS, Do.OBSERVE),
    ("f", RULE, LOST, Sight.UNKNOWN, Do.OBSERVE),
    ("f", ONCE, LOST, Sight.NOT_DONE, Do.OBSERVE),
    ("g", RULE, REFUSED, Sight.NOT_DONE, Do.FAIL),
    ("g", ONCE, REFUSED, Sight.NOT_DONE, Do.FAIL),
    ("h", RULE, BUSY, Sight.NOT_DONE, Do.ACT),
    ("h", ONCE, BUSY, Sight.NOT_DONE, Do.ACT),
    ("h", RULE, LOST, Sight.NOT_DONE, Do.ACT),
    ("h", RULE, replace(LOST, since=LATE), Sight.UNKNOWN, Do.ACT),
    ("h", RULE, replace(ACTED, since=LATE), Sight.NOT_DONE, Do.ACT),
    ("i", RULE, replace(BUSY, attempts=3), Sight.NOT_DONE, Do.FAIL),
    # Said yes, and nothing is seen of it: it may still come.
    ("n", ONCE, replace(ACTED, since=LATE), Sight.NOT_DONE, Do.GIVE_UP),
    ("n", RULE, replace(ACTED, since=LATE, attempts=3), Sight.NOT_DONE, Do.GIVE_UP),
    # Refused now, but an attempt before it may still land.
    ("n", RULE, replace(REFUSED, in_doubt=True, attempts=2), Sight.NOT_DONE, Do.GIVE_UP),
    ("n", RULE, replace(BUSY, in_doubt=True, attempts=3), Sight.NOT_DONE, Do.GIVE_UP),
    ("h", RULE, replace(BUSY, in_doubt=True, attempts=2), Sight.NOT_DONE, Do.ACT),
    # Nothing but the answer tells: no look is worth waiting for.
    ("h", BLIND, LOST, Sight.UNKNOWN, Do.ACT),
    ("n", BLIND, replace(LOST, attempts=3), Sight.UNKNOWN, Do.GIVE_UP),
    ("n", replace(BLIND, repeatable=False), LOST, Sight.UNKNOWN, Do.GIVE_UP),
    ("l", BLIND, TAKEN_OVER, Sight.UNKNOWN, Do.ACT),
    ("n", replace(BLIND, repeatable=False), TAKEN_OVER, Sight.UNKNOWN, Do.GIVE_UP),
    ("j", replace(RULE, deadline=NOW - timedelta(seconds=1)), FRESH, Sight.NOT_DONE, Do.FAIL),
    ("j", replace(RULE, deadline=NOW - timedelta(seconds=1)), BUSY, Sight.NOT_DONE, Do.FAIL),
    ("j", replace(RULE, deadline=NOW - timedelta(seconds=1)), LOST, Sight.NOT_DONE, Do.GIVE_UP),
    (
        "j",
        replace(RULE, deadline=NOW - timedelta(seconds=1)),
        replace(BUSY, in_doubt=True),
        Sight.NOT_DONE,
        Do.GIVE_UP,
    ),
    ("n", ONCE, replace(LOST, since=LATE), Sight.NOT_DONE, Do.GIVE_UP),
    ("n", ONCE, replace(LOST, since=LATE), Sight.UNKNOWN, Do.GIVE_UP),
    ("n", RULE, replace(LOST, since=LATE, attempts=3), Sight.UNKNOWN, Do.GIVE_UP),
    ("n", RULE, replace(LOST, attempts=3), Sight.NOT_DONE, Do.GIVE_UP),
    ("n", RULE, replace(ACTED, since=LATE), Sight.IN_PROGRESS, Do.GIVE_UP),
    # The target knows a newer epoch: again would be refused again, whatever is seen.
    ("o", RULE, FENCED, Sight.NOT_DONE, Do.FAIL),
    ("o", ONCE, FENCED, Sight.UNKNOWN, Do.FAIL),
    ("o", BLIND, FENCED, Sight.NOT_DONE, Do.FAIL),
    ("o", RULE, replace(FENCED, in_doubt=True, attempts=2), Sight.NOT_DONE, Do.GIVE_UP),
    ("e", RULE, FENCED, Sight.DONE, Do.COMPLETE),
    # A former owner journaled an intent.
    ("e", ONCE, TAKEN_OVER, Sight.DONE, Do.COMPLETE),
    ("k", RULE, TAKEN_OVER, Sight.UNKNOWN, Do.OBSERVE),
    ("k", RULE, TAKEN_OVER, Sight.IN_PROGRESS, Do.OBSERVE),
    ("l", RULE, TAKEN_OVER, Sight.NOT_DONE, Do.ACT),
    ("l", RULE, replace(TAKEN_OVER, since=LATE), Sight.UNKNOWN, Do.ACT),
    ("m", ONCE, TAKEN_OVER, Sight.NOT_DONE, Do.GIVE_UP),
    ("n", ONCE, replace(TAKEN_OVER, since=LATE), Sight.UNKNOWN, Do.GIVE_UP),
    ("n", RULE, replace(TAKEN_OVER, since=LATE), Sight.IN_PROGRESS, Do.GIVE_UP),
]


@pytest.mark.parametrize(("letter", "rule", "memory", "seen", "do"), CASES)
def test_a_transition(letter: str, rule: Rule, memory: Memory, seen: Sight, do: Do) -> None:
    move = next_move(rule, memory, seen, NOW)

    assert (move.letter, move.do) == (letter, do)
    assert move.reason


def test_every_transition_is_in_the_diagram() -> None:
    text = (Path(__file__).parents[3] / "docs" / "states.md").read_text(encoding="utf-8")
    section = text.split("## Step", 1)[1].split("\n## ", 1)[0]

    for letter in sorted({case[0] for case in CASES}):
        assert f"| {letter} |" in section


def test_attempts_back_off_twice_as_long_each() -> None:
    waits = [next_move(RULE, replace(BUSY, attempts=n), Sight.NOT_DONE, NOW).wait_s for n in (1, 2)]

    assert waits == [1.0, 2.0]


def test_looks_grow_rarer_up_to_a_bound() -> None:
    waits = [next_move(RULE, replace(ACTED, looks=n), Sight.NOT_DONE, NOW).wait_s for n in (0, 1, 4, 50)]

    assert waits == [0.1, 0.2, 1.6, 2.0]


memories: Any = st.builds(
    Memory,
    since=st.sampled_from([NOW, LATE]),
    attempts=st.integers(0, 5),
    resumed=st.booleans(),
    in_doubt=st.booleans(),
    landing=st.sampled_from([None, *Landing]),
    retryable=st.booleans(),
    looks=st.integers(0, 99),
)
rules: Any = st.builds(
    Rule,
    attempts=st.integers(1, 5),
    backoff_s=st.just(1.0),
    timeout_s=st.just(60.0),
    repeatable=st.booleans(),
    deadline=st.sampled_from([None, NOW, NOW + timedelta(hours=1)]),
)


@given(rules, memories, st.sampled_from(Sight))
def test_what_cannot_be_repeated_is_never_sent_while_an_earlier_request_may_land(
    rule: Rule, memory: Memory, seen: Sight
) -> None:
    move = next_move(replace(rule, repeatable=False), memory, seen, NOW)
    may_land = memory.attempts > 0 and (
        memory.resumed or memory.landing not in (Landing.REFUSED, Landing.FENCED)
    )

    assert not (move.do is Do.ACT and may_land)


@given(rules, memories, st.sampled_from(Sight))
def test_a_step_that_failed_can_have_no_effect_any_more(rule: Rule, memory: Memory, seen: Sight) -> None:
    assert next_move(rule, memory, seen, NOW).do is not Do.FAIL or not memory.may_land


@given(rules, memories)
def test_what_is_done_is_never_done_again(rule: Rule, memory: Memory) -> None:
    move = next_move(rule, memory, Sight.DONE, NOW)

    assert move.do in (Do.COMPLETE, Do.SATISFIED)


@given(rules, memories, st.sampled_from(Sight))
def test_nothing_is_looked_at_for_ever(rule: Rule, memory: Memory, seen: Sight) -> None:
    move = next_move(rule, replace(memory, since=LATE), seen, NOW)

    assert move.do is not Do.OBSERVE
