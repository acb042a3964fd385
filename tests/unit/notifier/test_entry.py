"""A delivery to several addresses, of which some are refused."""

from __future__ import annotations

from dataclasses import replace

from services.notifier.domain.attempts import Accepted, Failure, Refusals
from services.notifier.domain.entry import Entry, LaneObject, Settlement
from tests.unit.notifier.events import entry_of, event_of, told

A, B, C = "a@x.example", "b@x.example", "c@x.example"
MAIL = "<1@x.example>"


def entry_to(*addresses: str) -> Entry:
    mailed = next(item for item in told(event_of("started")) if item.receiver == "sales_team")
    return entry_of(replace(mailed, addresses=addresses))


def test_everyone_is_asked_for_at_first() -> None:
    entry = entry_to(A, B)
    assert entry.recipients == (A, B)
    shown = LaneObject(MAIL, "", entry.delivery.event_id)
    assert entry.accepted(MAIL, "") == Settlement("delivered", MAIL, shown=shown)


def test_only_who_was_refused_for_now_is_left() -> None:
    refusals = Refusals(MAIL, for_now={B: "451 greylisted"}, for_good={})
    assert refusals.rest == Failure(f"refused for now: {B}: 451 greylisted", retryable=True, remote_id=MAIL)
    left = entry_to(A, B).after(refusals)
    assert left.recipients == (B,)
    assert left.accepted(MAIL, "").outcome == "delivered"
    assert left.given_up("too often", MAIL) == Settlement("failed", MAIL, f"too often; not told: {B}")


def test_a_mail_that_everybody_refused_for_now_has_no_remote_id_in_the_end() -> None:
    left = entry_to(A, B).after(Refusals(MAIL, for_now={A: "451 later", B: "451 later"}, for_good={}))
    assert left.given_up("too often", MAIL).remote_id is None


def test_who_was_refused_for_good_makes_it_a_failure_once_the_others_have_it() -> None:
    first = entry_to(A, B, C).after(Refusals(MAIL, for_now={B: "451 later"}, for_good={C: "550 unknown"}))
    assert first.recipients == (B,)
    assert first.accepted(MAIL, "") == Settlement("failed", MAIL, f"refused for good: {C}: 550 unknown")
    second = first.after(Refusals(MAIL, for_now={}, for_good={B: "554 no"}))
    assert second.recipients == ()
    assert second.accepted(MAIL, "").reason == f"refused for good: {C}: 550 unknown; {B}: 554 no"


def test_what_nobody_has_has_no_remote_id() -> None:
    ended = entry_to(C).after(Refusals(MAIL, for_now={}, for_good={C: "550 unknown"})).accepted(MAIL, "")
    assert ended == Settlement("failed", None, f"refused for good: {C}: 550 unknown")


def test_where_nobody_is_left_there_is_nothing_to_try_again() -> None:
    assert Refusals(MAIL, for_now={}, for_good={C: "550 unknown"}).rest == Accepted(MAIL)


def test_who_waits_for_an_earlier_mail_is_left_when_the_others_have_it() -> None:
    entry = replace(entry_to(A, B, C), held_back=(B,))
    assert entry.recipients == (A, C)
    left = entry.served()
    assert (left.unserved, left.recipients) == ((B,), ())
    assert replace(left, held_back=()).recipients == (B,)
    assert replace(entry, held_back=()).served().unserved == ()


def test_who_was_refused_for_now_is_left_beside_who_waits() -> None:
    entry = replace(entry_to(A, B, C), held_back=(B,))
    left = entry.after(Refusals(MAIL, for_now={C: "451 later"}, for_good={A: "550 unknown"}))
    assert (left.unserved, left.recipients) == ((B, C), (C,))
    assert left.given_up("too often").reason == (
        f"too often; not told: {B}, {C}; refused for good: {A}: 550 unknown"
    )
