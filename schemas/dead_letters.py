"""The headers of a dead letter: where the record came from and why it could not be read.

The value and the key stay as they were, byte for byte, so that a mended consumer can read the
record again. Where several items of one batch are unreadable, the first letter carries the batch
and the others name their item alone. A key or value too large for a letter keeps its beginning,
and the letter says how long it was.

A record that was written back to its source names its letter in ``backout-requeued-from``. In the
same transaction a note of that goes to the dead-letter topic: the letter's id in ``backout-requeued``,
and the record's place, ``<topic>/<partition>/<offset>``, in ``backout-requeued-origin``. The note holds
for every letter of that record: each consumer that cannot read a record sets it aside.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

_PREFIX = "backout-"
REQUEUED_FROM = "backout-requeued-from"
REQUEUED = "backout-requeued"
REQUEUED_ORIGIN = "backout-requeued-origin"


class DeadLetterPlace(BaseModel):
    """``item`` is the index within a batch of samples, where only that one was unreadable.

    ``key_bytes`` and ``value_bytes`` are the whole lengths, where the letter keeps only a beginning.
    """

    model_config = ConfigDict(frozen=True)

    topic: str
    partition: int
    offset: int
    consumer: str
    reason: str
    error: str
    item: int | None = None
    key_bytes: int | None = None
    value_bytes: int | None = None

    @property
    def origin(self) -> tuple[str, int, int]:
        """Which record the letter is about: its topic, partition and offset."""
        return self.topic, self.partition, self.offset

    def headers(self) -> list[tuple[str, bytes]]:
        """As Kafka headers: ``backout-topic``, ``backout-partition``, ``backout-offset``, …"""
        fields = self.model_dump(exclude_none=True)
        return [(self.header_of(name), str(value).encode()) for name, value in fields.items()]

    @staticmethod
    def header_of(field: str) -> str:
        """The header that carries a field."""
        return _PREFIX + field.replace("_", "-")

    @classmethod
    def from_headers(cls, headers: list[tuple[str, bytes]]) -> DeadLetterPlace:
        """The place that a dead letter's headers name; raises ValueError where some are missing."""
        fields = {
            name.removeprefix(_PREFIX).replace("-", "_"): value.decode("utf-8", "replace")
            for name, value in headers
            if name.startswith(_PREFIX)
        }
        return cls.model_validate(fields)
