"""An execution as its journal tells it, and what it has to do next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.rollbacks import RollbackKind
from services.executor.domain.execution import (
    Entry,
    Failure,
    Finish,
    Phase,
    RunStep,
    State,
    UndoStep,
    deadline_at,
    estimated_completion,
    fold,
    is_untouched,
    next_task,
    progress,
)
from services.executor.domain.playbook import HttpCall, HttpCheck, Playbook, Step, Undo, Wait

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
CALL = HttpCall(method="PUT", url="{target.x}/a")
CHECK = HttpCheck(url="{target.x}/a")


def step(name: str, *, undo: bool = True, irreversible: bool = False, **fields: Any) -> Step:
    return Step(
        id=name,
        description="",
        action=fields.pop("action", CALL),
        observe=CHECK,
        undo=Undo(action=CALL) if undo else None,
        irreversible=irreversible,
        timeout_s=60,
        **fields,
    )


def playbook(*steps: Step) -> Playbook:
    return Playbook(name="extractor", deadline_s=600, steps=steps)


THREE = playbook(step("one"), step("two"), step("three"))


def journal(*told: str | tuple[str, str], every_s: float = 1.0) -> list[Entry]:
    """Entries in words: ``"started"``, ``"step_started one"``, or with a reason beside it."""
    entries = []
    for number, item in enumerate(told, start=1):
        words, reason = item if isinstance(item, tuple) else (item, "")
        kind, _, name = words.partition(" ")
        entries.append(
            Entry(
                sequence=number,
                kind=kind_of(kind),
                at=START + timedelta(seconds=every_s * (number - 1)),
                reason=reason,
                why="the reason why" if reason else "",
                step_id=name or None,
                memory={"prior": {"was": number}} if kind == "step_started" else {},
            )
        )
    return entries


def kind_of(word: str) -> RollbackKind:
    known: dict[str, RollbackKind] = {
        "started": "started",
        "step_started": "step_started",
        "step_completed": "step_completed",
        "step_failed": "step_failed",
        "undo_started": "undo_started",
        "step_undone": "step_undone",
        "held": "held",
        "continued": "continued",
        "owner_changed": "owner_changed",
        "completed": "completed",
    }
    return known[word]


def done(name: str) -> tuple[str, str]:
    return f"step_started {name}", f"step_completed {name}"


def test_steps_run_in_order_and_then_it_is_a_success() -> None:
    assert next_task(THREE, fold(THREE, journal("started"))) == RunStep(THREE.steps[0])
    one = fold(THREE, journal("started", *done("one")))
    assert next_task(THREE, one) == RunStep(THREE.steps[1])
    every = fold(THREE, journal("started", *done("one"), *done("two"), *done("three")))
    finish = next_task(THREE, every)
    assert isinstance(finish, Finish)
    assert finish.status == "Success"
    assert [progress(THREE, state) for state in (one, every)] == [33, 100]


def test_an_open_intent_is_gone_on_with_before_anything_else() -> None:
    state = fold(THREE, journal("started", *done("one"), "step_started two", "owner_changed"))

    assert next_task(THREE, state) == RunStep(THREE.steps[1])
    assert state.step("two").phase is Phase.INTENDED
    assert not is_untouched(THREE, state)


def test_the_prior_value_is_that_of_the_first_intent() -> None:
    state = fold(THREE, journal("started", "step_started one", "step_started one"))

    assert state.step("one").prior == {"was": 2}


def test_what_was_done_is_undone_backwards_when_a_step_fails() -> None:
    told: list[Any] = ["started", *done("one"), *done("two"), "step_started three"]
    told.append(("step_failed three", "step_failed"))
    assert next_task(THREE, fold(THREE, journal(*told))) == UndoStep(THREE.steps[1])
    told.append("undo_started two")
    assert next_task(THREE, fold(THREE, journal(*told))) == UndoStep(THREE.steps[1])
    told.append("step_undone two")
    assert next_task(THREE, fold(THREE, journal(*told))) == UndoStep(THREE.steps[0])
    told += ["undo_started one", "step_undone one"]
    finish = next_task(THREE, fold(THREE, journal(*told)))
    assert isinstance(finish, Finish)
    assert (finish.status, finish.reason) == ("Failed", "step_failed")
    assert "nothing of it remains in effect" in finish.why


def test_what_was_already_satisfied_is_not_ours_to_undo() -> None:
    state = fold(
        THREE,
        journal("started", ("step_completed one", "already_satisfied"), ("step_failed two", "step_failed")),
    )
    finish = next_task(THREE, state)

    assert isinstance(finish, Finish)
    assert finish.status == "Failed"


def test_an_undo_that_fails_ends_the_undoing() -> None:
    state = fold(
        THREE,
        journal(
            "started",
            *done("one"),
            *done("two"),
            ("step_failed three", "step_failed"),
            "undo_started two",
            ("step_failed two", "undo_failed"),
        ),
    )
    finish = next_task(THREE, state)

    assert isinstance(finish, Finish)
    assert (finish.status, finish.why) == (
        "PartialFailure",
        "step three: the reason why; still in effect: one, two",
    )


@pytest.mark.parametrize("reason", ["validation_failed", "outcome_unknown", "fenced_by_target"])
def test_nothing_is_undone_after(reason: str) -> None:
    finish = next_task(THREE, fold(THREE, journal("started", *done("one"), ("step_failed two", reason))))

    assert isinstance(finish, Finish)
    assert (finish.status, finish.reason) == ("Failed", reason)
    assert "left as they are: one" in finish.why


def test_a_target_that_obeys_somebody_else_is_left_alone_and_a_person_told_what_to_do() -> None:
    told = journal("started", *done("one"), "step_started two", ("step_failed two", "fenced_by_target"))
    doubted = [*told[:-1], replace(told[-1], memory={"may_land": True})]
    ends = [next_task(THREE, fold(THREE, entries)) for entries in (told, doubted)]

    assert [end.reason for end in ends if isinstance(end, Finish)] == ["fenced_by_target"] * 2
    assert [end.status for end in ends if isinstance(end, Finish)] == ["Failed"] * 2
    words = [end.why for end in ends if isinstance(end, Finish)]
    assert words[0].startswith("step two: the reason why; left as they are: one. Either another controller")
    assert "raise the epoch" in words[0]
    assert "left as they are: one, two. " in words[1]


def test_an_undo_that_the_target_fences_ends_the_undoing_and_names_both_failures() -> None:
    told = journal(
        "started",
        *done("one"),
        *done("two"),
        ("step_failed three", "step_failed"),
        "undo_started two",
        ("step_failed two", "fenced_by_target"),
    )
    finish = next_task(THREE, fold(THREE, told))

    assert isinstance(finish, Finish)
    assert (finish.status, finish.reason) == ("Failed", "fenced_by_target")
    assert "step two: the reason why; it was being undone because of step three: " in finish.why
    assert "left as they are: one, two. " in finish.why


def test_nothing_is_undone_behind_an_irreversible_step() -> None:
    book = playbook(step("one"), step("two", undo=False, irreversible=True), step("three"))
    told = journal("started", *done("one"), *done("two"), ("step_failed three", "step_failed"))
    finish = next_task(book, fold(book, told))

    assert isinstance(finish, Finish)
    assert finish.status == "PartialFailure"
    assert "still in effect: one, two" in finish.why


def test_a_step_without_an_undo_stays_and_those_before_it_are_undone() -> None:
    book = playbook(step("one"), step("two", undo=False), step("three"))
    told = journal("started", *done("one"), *done("two"), ("step_failed three", "step_failed"))

    assert next_task(book, fold(book, told)) == UndoStep(book.steps[0])


def test_the_deadline_counts_neither_waits_nor_holds_nor_the_time_without_an_owner() -> None:
    book = playbook(step("wait", undo=False, action=Wait(seconds=10)), step("two"))
    plain = fold(book, journal("started", "step_started two", every_s=10))
    waited = fold(book, journal("started", *done("wait"), every_s=10))
    held = fold(book, journal("started", "held", "continued", "owner_changed", every_s=10))

    assert deadline_at(book, plain) == START + timedelta(seconds=600)
    assert deadline_at(book, waited) == START + timedelta(seconds=610)
    assert deadline_at(book, held) == START + timedelta(seconds=620)
    assert deadline_at(book, State()) is None


def test_the_estimate_is_of_the_steps_that_are_left() -> None:
    book = playbook(
        step("one", usually_s=5),
        step("wait", undo=False, action=Wait(seconds=30)),
        step("three", usually_s=5),
        step("four"),
    )
    begun = fold(book, journal("started", *done("one")))
    usual = {"three": 2.0}

    assert estimated_completion(book, begun, usual, START) == START + timedelta(seconds=30 + 2 + 6)


def test_a_journal_that_ended_says_so_and_names_its_failure() -> None:
    state = fold(THREE, journal("started", ("step_failed one", "step_failed"), "completed"))

    assert state.ended
    assert state.failure == Failure("step_failed", "the reason why", "one")
    assert state.sequence == 3
