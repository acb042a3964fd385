"""Fetched records without aiokafka's dataclass around each.

To make one takes longer than to unpack the record it is made from, and twice as long again as
what the hot path does with it. A plain record says all but where it was read: whoever polls
knows the topic and the partition of what was polled.

aiokafka unpacks a fetch lazily and, as its own last step for every record, wraps it. Here that
step is left out for one consumer; the unpacking (aborted transactions, control records, offsets
before the position) stays aiokafka's. It has no public way to say so: the version is pinned, and
tests/integration/chassis/test_plain_records.py holds the plain records against the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class PlainRecord(Protocol):
    """A fetched record. ``timestamp`` is milliseconds since the epoch (append or create time)."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


@dataclass(frozen=True, slots=True)
class PlacedRecord:
    """A plain record with where it was read."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def placed(record: PlainRecord, topic: str, partition: int) -> PlacedRecord:
    """The record, which was read there."""
    return PlacedRecord(
        topic, partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
    )


def unwrap(consumer: Any) -> None:
    """From now on the (started) aiokafka consumer gives plain records."""
    fetcher = consumer._fetcher
    fetched = _Unwrapping()
    for partition, result in fetcher._records.items():
        fetched[partition] = result
    fetcher._records = fetched


class _Unwrapping(dict[Any, Any]):
    """What was fetched and not yet polled, by partition; errors are among it."""

    def __setitem__(self, partition: Any, result: Any) -> None:
        records = getattr(result, "_partition_records", None)
        if records is not None:
            records._consumer_record = _as_it_is
        super().__setitem__(partition, result)


def _as_it_is(_: Any, record: Any) -> Any:
    return record
