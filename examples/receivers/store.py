"""What the receivers keep: JSON documents in one SQLite file, so that a restart forgets nothing.

A document is durable before the request that made it is answered, as with the real services.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Document = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    collection TEXT NOT NULL,
    key        TEXT NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (collection, key)
)
"""


class Store:
    """Collections of documents; within one, the order is that of their first writing."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(_SCHEMA)

    def put(self, collection: str, key: str, body: Document) -> None:
        """Write a document, or replace it in its place."""
        self._connection.execute(
            "INSERT INTO documents VALUES (?, ?, ?) "
            "ON CONFLICT (collection, key) DO UPDATE SET body = excluded.body",
            (collection, key, json.dumps(body)),
        )

    def get(self, collection: str, key: str) -> Document | None:
        row = self._connection.execute(
            "SELECT body FROM documents WHERE collection = ? AND key = ?", (collection, key)
        ).fetchone()
        return None if row is None else _document(row[0])

    def all(self, collection: str) -> Iterator[Document]:
        """Every document of a collection, oldest first."""
        rows = self._connection.execute(
            "SELECT body FROM documents WHERE collection = ? ORDER BY rowid", (collection,)
        ).fetchall()
        for row in rows:
            yield _document(row[0])

    def count(self, collection: str) -> int:
        row = self._connection.execute(
            "SELECT count(*) FROM documents WHERE collection = ?", (collection,)
        ).fetchone()
        return int(row[0])

    def close(self) -> None:
        self._connection.close()


def _document(text: str) -> Document:
    body: Document = json.loads(text)
    return body


def write_whole(path: Path, text: str) -> None:
    """Replace a file, so that nobody reads half of it."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
