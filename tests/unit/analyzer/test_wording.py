"""Texts of others as sentences of a report."""

from __future__ import annotations

import pytest

from services.analyzer.domain.wording import sentence


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the validation failed", "The validation failed"),
        ("refused, since it is too old", "Refused, since it is too old"),
        ("response_time_p95_ms of api is 3519", "response_time_p95_ms of api is 3519"),
        ("pdf-extraction is firing", "pdf-extraction is firing"),
        ("3 components are firing", "3 components are firing"),
        ("", ""),
    ],
)
def test_a_sentence_begins_with_a_capital_letter_and_a_name_as_it_is(text: str, said: str) -> None:
    assert sentence(text) == said
