"""Which dead letters are not written back, and why; and that each record is written back once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from chassis.dead_letters import MAX_VALUE_BYTES
from chassis.requeue import Letter, marked, plan, refusal
from schemas.dead_letters import DeadLetterPlace

AT = datetime(2026, 1, 1, tzinfo=UTC)
TOPICS = {"backout.metrics.v1": 4}


def _letter(identity: str = "0-7", size: int | None = 100, requeued: bool = False, **more: Any) -> Letter:
    fields = {
        "topic": "backout.metrics.v1",
        "partition": 1,
        "offset": 40,
        "consumer": "monitor",
        "reason": "invalid_sample",
        "error": "no",
        **more,
    }
    return Letter(identity, AT, DeadLetterPlace(**fields), size, AT if requeued else None)


@pytest.mark.parametrize("letter", [_letter(), _letter(partition=3), _letter(size=MAX_VALUE_BYTES - 1)])
def test_a_whole_letter_is_written_back(letter: Letter) -> None:
    assert refusal(letter, [letter], TOPICS, whole=False) is None


@pytest.mark.parametrize(
    ("letter", "words"),
    [
        (_letter(requeued=True), "was requeued at 2026-01-01T00:00:00Z"),
        (_letter(value_bytes=5_000_000), "keeps only the first 100 of 5000000 bytes"),
        (_letter(size=MAX_VALUE_BYTES), "keeps only the first"),
        (_letter(key_bytes=9_000), "a key of 9000 bytes"),
        (_letter(size=None), "no consumer reads an empty record"),
        (_letter(size=0), "no consumer reads an empty record"),
        (_letter(topic="gone"), "there is no such topic"),
        (_letter(partition=4), "comes from partition 4; backout.metrics.v1 has 4 now"),
        (_letter(item=3, size=None), "value is in letter 0-6"),
        (_letter(item=3, size=None, offset=41), "a letter that is there no more"),
    ],
)
def test_what_cannot_succeed_is_refused_with_the_reason(letter: Letter, words: str) -> None:
    first = _letter("0-6", item=0)
    found = refusal(letter, [first, letter], TOPICS, whole=True)
    assert found is not None
    assert words in found


def test_a_record_that_was_read_in_part_is_written_back_only_when_asked() -> None:
    letter = _letter(item=3)
    found = refusal(letter, [letter], TOPICS, whole=False)
    assert found is not None
    assert "--whole" in found
    assert refusal(letter, [letter], TOPICS, whole=True) is None


def _ids(letters: list[Letter]) -> list[list[str]]:
    writes, refused = plan(letters, letters, TOPICS, whole=False)
    assert not refused
    return [[letter.id for letter in write.letters] for write in writes]


def test_a_record_that_several_consumers_set_aside_is_written_back_once() -> None:
    letters = [
        _letter(f"0-{3 * offset + number}", offset=offset, consumer=consumer)
        for offset in (0, 1)
        for number, consumer in enumerate(("executor", "analyzer", "monitor-compound"))
    ]
    assert _ids(letters) == [["0-0", "0-1", "0-2"], ["0-3", "0-4", "0-5"]]
    writes, _ = plan([letters[2], letters[4]], letters, TOPICS, whole=False)
    assert [(write.letter.id, len(write.letters)) for write in writes] == [("0-2", 3), ("0-4", 3)]


def test_a_letter_without_its_value_is_settled_by_the_one_that_has_it() -> None:
    first, further = _letter("0-6", item=0), _letter("0-7", item=3, size=None)
    writes, refused = plan([further, first], [first, further], TOPICS, whole=True)
    assert ([write.letter.id for write in writes], refused) == (["0-6"], {})
    writes, refused = plan([further], [first, further], TOPICS, whole=True)
    assert (writes, list(refused)) == ([], ["0-7"])


def test_whoever_read_a_part_of_the_record_counts_whichever_letter_is_named() -> None:
    whole, part = _letter("0-6", consumer="a"), _letter("0-7", item=3, consumer="b")
    writes, refused = plan([whole], [whole, part], TOPICS, whole=False)
    assert not writes
    assert "of the record of letter 0-7" in refused["0-6"]
    assert plan([whole], [whole, part], TOPICS, whole=True)[0]


def test_a_note_holds_for_every_letter_of_the_record_and_for_no_other() -> None:
    letters = [
        _letter("0-0", consumer="executor"),
        _letter("0-1", consumer="analyzer"),
        _letter("0-9", offset=41),
        _letter("0-12", consumer="late"),
        _letter("0-13", topic="backout.logs.v1"),
    ]
    origin = ("backout.metrics.v1", 1, 40)
    for notes in ([("0-0", origin, AT)], [("0-0", None, AT)], [("0-0", origin, AT), ("0-1", origin, AT)]):
        found = marked(letters, notes)
        assert [letter.requeued_by for letter in found] == ["0-0", "0-0", None, "0-0", None]
    assert "was requeued with letter 0-0 at" in (refusal(found[3], found, TOPICS, whole=False) or "")
    # The noted letter may have gone with the topic's retention, the others may be there still.
    assert marked(letters[1:], [("0-0", origin, AT)])[0].requeued_at == AT
    assert marked(letters[1:], [("0-0", None, AT)])[0].requeued_at is None
