"""Which dead letters are not written back, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from chassis.dead_letters import MAX_VALUE_BYTES
from chassis.requeue import Letter, refusal
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
