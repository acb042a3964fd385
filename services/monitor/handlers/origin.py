"""One partition of a foreign topic in the hands of its owner: translate, and write what came of it.

Each record is translated once: what it became is written together with the offset up to which its
partition is translated, and whatever is delivered again below that offset is passed over.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chassis.errors import TemporaryError
from chassis.kafka import MAX_REQUEST_BYTES, Record, TopicPartition
from schemas.metrics import Sample, Unread, encode_batch
from services.monitor.domain.ingest.translation import Translated, Translator

SAMPLES_OF_A_BATCH = 1_000
_ROOM_FOR_KEY_AND_HEADERS = 16_384
MAX_BATCH_BYTES = MAX_REQUEST_BYTES - _ROOM_FOR_KEY_AND_HEADERS
_BYTES_BETWEEN_TURNS = 50_000
MAX_TRANSACTION_BYTES = 4_000_000
"""A transaction that has reached this is committed: readers of the metrics topic wait for its end."""


@dataclass(frozen=True, slots=True)
class OutgoingBatch:
    """A record for the metrics topic: ``part`` counts those of one origin's record, from 0."""

    component: str
    value: bytes
    origin: Record
    part: int


@dataclass(frozen=True, slots=True)
class Refused:
    """An origin's record, or a point of it, for the dead-letter topic."""

    record: Record
    unread: Unread


@dataclass(slots=True)
class Translation:
    """What consecutive records of one partition became; written together or not at all.

    ``outcomes`` keeps the order: for each record what is refused of it, and whether any of it was read.
    """

    next_offset: int
    batches: list[OutgoingBatch] = field(default_factory=list)
    outcomes: list[tuple[list[Refused], bool]] = field(default_factory=list)
    samples: int = 0
    bytes: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)


class OriginLog(Protocol):
    """Where a translation is written, with the offset that it reached, in one transaction."""

    async def write(self, translation: Translation) -> None:
        """Raises Fenced if another process owns the partition now, TooManyDeadLetters once too
        many records in a row were unreadable. In both cases nothing was written."""
        ...

    async def end(self) -> int:
        """The offset after the last record that the origin's partition holds now."""
        ...

    async def close(self) -> None: ...


class IngestMeter(Protocol):
    """Counts what ingest does."""

    def translated(self, source: str, translation: Translation) -> None: ...


class OriginPartition:
    """Goes on at ``next_offset``."""

    def __init__(
        self,
        source: str,
        place: TopicPartition,
        translator: Translator,
        log: OriginLog,
        meter: IngestMeter,
        *,
        next_offset: int,
    ) -> None:
        self.place = place
        self.next_offset = next_offset
        self._source = source
        self._translator = translator
        self._log = log
        self._meter = meter

    async def take(self, records: Sequence[Record]) -> None:
        """Translate these records and write what they became. Raises what ``OriginLog.write`` raises, and
        TemporaryError where the topic was made anew: who takes it over then finds its beginning."""
        if records and records[-1].offset < self.next_offset:
            await self._check_end()
        translation = Translation(self.next_offset)
        since_turn = 0
        for record in records:
            if record.offset < translation.next_offset:
                continue
            if translation.bytes >= MAX_TRANSACTION_BYTES:
                await self._write(translation)
                translation = Translation(self.next_offset)
            translated = self._translator.translate(record.value)
            add(translation, record, translated)
            since_turn += len(record.value or b"")
            if since_turn >= _BYTES_BETWEEN_TURNS:
                # The monitor evaluates in the same loop, and must not wait for a whole fetch. The samples do
                # not tell how long it took: a thousand merged points are a few.
                await asyncio.sleep(0)
                since_turn = 0
        if translation.next_offset != self.next_offset:
            await self._write(translation)

    async def _check_end(self) -> None:
        end = await self._log.end()
        if end < self.next_offset:
            raise TemporaryError(
                f"{self.place.topic}[{self.place.partition}] ends at {end} and was translated up to "
                f"{self.next_offset}: it was made anew"
            )

    async def _write(self, translation: Translation) -> None:
        await self._log.write(translation)
        self.next_offset = translation.next_offset
        self._meter.translated(self._source, translation)

    async def close(self) -> None:
        """Let go; what was not written is translated by the next owner."""
        await self._log.close()


def add(translation: Translation, record: Record, translated: Translated) -> None:
    """Add what ``record`` became: a batch for each component, parted where it would be too large."""
    by_component: dict[str, list[Sample]] = {}
    for sample in translated.samples:
        by_component.setdefault(sample.component, []).append(sample)
    refused = [Refused(record, unread) for unread in translated.unread]
    part = too_large = 0
    for component, samples in by_component.items():
        for first in range(0, len(samples), SAMPLES_OF_A_BATCH):
            for value in _encoded(component, samples[first : first + SAMPLES_OF_A_BATCH]):
                if len(value) > MAX_BATCH_BYTES:
                    error = f"a sample of {component} has {len(value)} bytes, more than {MAX_BATCH_BYTES}"
                    refused.append(Refused(record, Unread("too_large", error)))
                    too_large += 1
                    continue
                translation.batches.append(OutgoingBatch(component, value, record, part))
                translation.bytes += len(value)
                part += 1
    translation.outcomes.append((refused, not translated.unread or bool(translated.samples)))
    translation.samples += len(translated.samples) - too_large
    translation.passed_over.update(translated.passed_over)
    translation.next_offset = record.offset + 1


def _encoded(component: str, samples: Sequence[Sample]) -> list[bytes]:
    """These samples as batches that a request can carry; one sample alone is left as large as it is."""
    value = encode_batch(component, samples)
    if len(value) <= MAX_BATCH_BYTES or len(samples) == 1:
        return [value]
    half = len(samples) // 2
    return [*_encoded(component, samples[:half]), *_encoded(component, samples[half:])]
