"""Documents and their chunks in Postgres, and the full-text search over them."""

from dataclasses import dataclass

from examples.docrag.answering import Passage
from examples.docrag.chunking import chunk_pages
from examples.docrag.database import Pool
from examples.docrag.extraction import Extraction

_UPSERT_DOCUMENT = """
    INSERT INTO docrag.documents (name, sha256, pages, library) VALUES ($1, $2, $3, $4)
    ON CONFLICT (name) DO UPDATE
       SET sha256 = excluded.sha256, pages = excluded.pages, library = excluded.library, uploaded_at = now()
    RETURNING id
"""
_INSERT_CHUNKS = """
    INSERT INTO docrag.chunks (document_id, page, position, content)
    SELECT $1, * FROM unnest($2::int[], $3::int[], $4::text[])
"""
# Any word of the question may match: a question holds words that no answer does. The rank sorts them.
_SEARCH = """
    WITH question AS (SELECT replace(plainto_tsquery('english', $1)::text, '&', '|')::tsquery AS words)
    SELECT documents.name, documents.id AS document_id, chunks.page, chunks.id AS chunk_id, chunks.content,
           ts_headline('english', chunks.content, question.words, 'MaxWords=30, MinWords=12') AS snippet,
           ts_rank_cd(chunks.words, question.words, 1) AS score
      FROM question, docrag.chunks JOIN docrag.documents ON documents.id = chunks.document_id
     WHERE chunks.words @@ question.words
     ORDER BY score DESC, chunks.id
     LIMIT $2
"""


@dataclass(frozen=True)
class StoredDocument:
    """A document as stored."""

    document_id: int
    chunks: int


class DocumentStore:
    """Stores extracted documents and finds passages in them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def save(self, name: str, sha256: str, extraction: Extraction) -> StoredDocument:
        """Store a document under its name, in place of what was stored there."""
        # Postgres text cannot hold NUL, which damaged font tables do produce.
        chunks = chunk_pages([page.replace("\0", "") for page in extraction.pages])
        async with self._pool.acquire() as connection, connection.transaction():
            document_id = await connection.fetchval(
                _UPSERT_DOCUMENT, name, sha256, len(extraction.pages), extraction.library
            )
            await connection.execute("DELETE FROM docrag.chunks WHERE document_id = $1", document_id)
            await connection.execute(
                _INSERT_CHUNKS,
                document_id,
                [chunk.page for chunk in chunks],
                [chunk.position for chunk in chunks],
                [chunk.content for chunk in chunks],
            )
        return StoredDocument(document_id, len(chunks))

    async def search(self, question: str, limit: int) -> list[Passage]:
        """The passages that match best, best first."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_SEARCH, question, limit)
        return [
            Passage(
                document=row["name"],
                document_id=row["document_id"],
                page=row["page"],
                chunk_id=row["chunk_id"],
                content=row["content"],
                snippet=row["snippet"],
                score=float(row["score"]),
            )
            for row in rows
        ]
