"""Cutting extracted pages into the passages that retrieval returns and citations point to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WORDS_PER_CHUNK = 90
OVERLAP = 15


@dataclass(frozen=True)
class Chunk:
    """A passage: its page (from 1), its place on that page (from 0), and its text with single spaces."""

    page: int
    position: int
    content: str


def chunk_pages(pages: Sequence[str]) -> list[Chunk]:
    """Cut each page into passages of at most 90 words that share 15 words with their neighbour.

    A passage never crosses a page, so that a citation names one page.
    """
    return [
        Chunk(number, position, " ".join(words))
        for number, page in enumerate(pages, start=1)
        for position, words in enumerate(_windows(page.split()))
    ]


def _windows(words: Sequence[str]) -> Iterator[Sequence[str]]:
    start = 0
    while start < len(words):
        end = start + WORDS_PER_CHUNK
        yield words[start:end]
        if end >= len(words):
            return
        start = end - OVERLAP
