"""An answer out of retrieved passages: the sentences that share most words with the question, each with its
source.

Extractive on purpose: every word of an answer stands in a document, so a citation can be checked.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from examples.docrag.accuracy import tokens

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9ÆØÅÄÖÜ])")
MAX_SENTENCES = 2
MIN_WORD_LENGTH = 3


@dataclass(frozen=True)
class Passage:
    """A retrieved chunk with its document, the passage marked up by the search, and the search's rank."""

    document: str
    document_id: int
    page: int
    chunk_id: int
    content: str
    snippet: str
    score: float


def answer(question: str, passages: Sequence[Passage]) -> dict[str, Any]:
    """`{query, answer, citations}`; the answer is None where nothing was found.

    Each sentence of the answer ends in the number of its citation, from 1: `… two passes. [1]`
    """
    citations = [_citation(passage) for passage in passages]
    return {"query": question, "answer": _best_sentences(question, passages), "citations": citations}


def _best_sentences(question: str, passages: Sequence[Passage]) -> str | None:
    wanted = {token for token in tokens(question) if len(token) >= MIN_WORD_LENGTH}
    scored: list[tuple[int, int, int, str]] = []
    seen: set[str] = set()
    for number, passage in enumerate(passages, start=1):
        for position, sentence in enumerate(_SENTENCE_END.split(passage.content)):
            shared = len(wanted.intersection(tokens(sentence)))
            if shared and sentence not in seen:
                seen.add(sentence)
                scored.append((-shared, number, position, sentence))
    best = sorted(scored)[:MAX_SENTENCES]
    if best:
        return " ".join(f"{sentence} [{number}]" for _, number, _, sentence in best)
    return f"{passages[0].content} [1]" if passages else None


def _citation(passage: Passage) -> dict[str, Any]:
    citation = asdict(passage)
    del citation["content"]
    citation["score"] = round(passage.score, 6)
    return citation
