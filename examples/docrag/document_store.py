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
# Any word of the question may match: a question holds words that no answer does. The score, 0..1, is the
# share of the question's words that the passage holds; how close together they stand decides between equals.
_SEARCH = """
    WITH question AS (
        SELECT replace(plainto_tsquery('english', $1)::text, '&', '|')::tsquery AS words,
               tsvector_to_array(to_tsvector('english', $1)) AS lexemes
    ), found AS (
        SELECT chunks.*, question.words AS wanted, cardinality(question.lexemes) AS total,
               (SELECT count(*) FROM unnest(tsvector_to_array(chunks.words)) AS own
                 WHERE own = ANY (question.lexemes)) AS matched,
               ts_rank_cd(chunks.words, question.words, 32) AS closeness
          FROM question, docrag.chunks
         WHERE chunks.words @@ question.words
         ORDER BY matched DESC, closeness DESC, chunks.id
         LIMIT $2
    )
    SELECT documents.name, documents.id AS document_id, found.page, found.id AS chunk_id, found.content,
           ts_headline('english', found.content, found.wanted, 'MaxWords=30, MinWords=12') AS snippet,
           (found.matched + found.closeness) / (found.total + 1) AS score
      FROM found JOIN docrag.documents ON documents.id = found.document_id
     ORDER BY found.matched DESC, found.closeness DESC, found.id
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
