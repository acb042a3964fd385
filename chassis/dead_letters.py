"""Dead letters: what a consumer cannot read goes aside with its place, and the consumer goes on.

Too many in a row mean that the consumer is at fault, not the data: it stops, before a bad
release of it drains a topic into dead letters.
"""

from __future__ import annotations

import structlog

from chassis.errors import TooManyDeadLetters
from chassis.kafka import MAX_REQUEST_BYTES, Producer, Record
from schemas.dead_letters import DeadLetterPlace

log = structlog.get_logger(__name__)
MAX_ITEMS_OF_A_RECORD = 20
"""How many unreadable items of one batch get a letter each; the first letter holds them all."""
_KEY_BYTES = 4_096
_ROOM_FOR_KEY_AND_HEADERS = 16_384
MAX_VALUE_BYTES = MAX_REQUEST_BYTES - _ROOM_FOR_KEY_AND_HEADERS
"""A letter keeps no more of a value than this."""


class DeadLetters:
    """Sends unreadable records to the dead-letter topic and counts them in a row."""

    def __init__(self, producer: Producer, *, topic: str, consumer: str, limit: int) -> None:
        self._producer = producer
        self._topic = topic
        self._consumer = consumer
        self._limit = limit
        self._record: tuple[str, int, int] | None = None
        self._items = 0
        self.in_a_row = 0
        self.total = 0

    def good(self) -> None:
        """A record was read: the count in a row begins anew."""
        self.in_a_row = 0

    async def put(self, record: Record, *, reason: str, error: str, item: int | None = None) -> None:
        """Set one record (or the ``item`` of a batch) aside.

        A record counts once, however many of its items are unreadable. Its first letter carries
        its value; a few more name further items without it, so that one bad batch does not become
        thousands of copies of itself.

        Raises TooManyDeadLetters, without having sent this one, once the limit is passed.
        """
        place = DeadLetterPlace(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            consumer=self._consumer,
            reason=reason,
            error=error[:2_000],
            item=item,
        )
        self.total += 1
        if self._is_further_item(record, item):
            self._items += 1
            if self._items <= MAX_ITEMS_OF_A_RECORD:
                await self._send(record, place, value=None)
            return
        if self.in_a_row >= self._limit:
            raise TooManyDeadLetters(
                f"{self._limit} unreadable records in a row on {record.topic}[{record.partition}], "
                f"the last at offset {record.offset}: {error}. Mend the producer or this consumer; "
                "BACKOUT_KAFKA__DEAD_LETTERS_IN_A_ROW is the limit"
            )
        await self._send(record, place, value=record.value)
        self._record, self._items = (record.topic, record.partition, record.offset), 1
        self.in_a_row += 1

    def _is_further_item(self, record: Record, item: int | None) -> bool:
        return item is not None and self._record == (record.topic, record.partition, record.offset)

    async def _send(self, record: Record, place: DeadLetterPlace, *, value: bytes | None) -> None:
        if value is None and record.key is None:
            # A record of neither key nor value exists on topics, but the client writes none.
            value = b""
        kept_key, key_bytes = _beginning(record.key, _KEY_BYTES)
        kept, value_bytes = _beginning(value, MAX_VALUE_BYTES)
        place = place.model_copy(update={"key_bytes": key_bytes, "value_bytes": value_bytes})
        await self._producer.send(self._topic, kept, key=kept_key, headers=place.headers())
        log.warning("dead letter", **place.model_dump(exclude_none=True))


def _beginning(content: bytes | None, limit: int) -> tuple[bytes | None, int | None]:
    """A key or value that is too large for one request keeps its beginning; then also how long it was."""
    if content is None or len(content) <= limit:
        return content, None
    return content[:limit], len(content)
