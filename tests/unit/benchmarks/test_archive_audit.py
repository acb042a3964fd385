"""What the torture of the analyzer takes for a fault."""

from __future__ import annotations

import pytest

from benchmarks.archive_audit import Entry, Kept, faults, unread

TOPIC = "backout.triggers.v1"
LOG = [Entry(TOPIC, offset, f"event-{offset}") for offset in (0, 1, 3, 4, 7)]


def kept(*entries: Entry, upto: int = 8) -> Kept:
    return Kept(entries, {TOPIC: upto})


def test_all_that_was_read_is_there() -> None:
    assert faults(kept(*LOG), LOG, {"event-2"}) == []
    assert unread(kept(*LOG), LOG) == []


def test_what_was_not_read_yet_is_not_lost() -> None:
    assert faults(kept(*LOG[:2], upto=2), LOG, ()) == []
    assert unread(kept(*LOG[:2], upto=2), LOG) == [f"3 not read on {TOPIC}, at 3 to 4, 7"]
    assert unread(Kept((), {}), LOG) == [f"5 not read on {TOPIC}, at 0 to 1, 3 to 4, 7"]


def test_what_was_read_past_and_not_kept_is_lost() -> None:
    assert faults(kept(*LOG[:2]), LOG, ()) == [f"3 lost on {TOPIC}, at 3 to 4, 7"]


@pytest.mark.parametrize(
    ("surplus", "found"),
    [
        (Entry(TOPIC, 2, "aborted"), ["archived though aborted", "archived though not in the log"]),
        (Entry(TOPIC, 5, "event-5"), ["archived though not in the log"]),
        (Entry(TOPIC, 6, "event-4"), ["archived though not in the log", "archived more than once"]),
    ],
)
def test_what_should_not_be_there_is_told(surplus: Entry, found: list[str]) -> None:
    lines = faults(kept(*LOG, surplus), LOG, {"aborted"})
    assert [line.split(" on ")[0].split(" ", 1)[1] for line in lines] == found
