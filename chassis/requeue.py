"""The dead-letter topic as an operator reads it, and records written back from it.

A letter is named by its place on the dead-letter topic, ``<partition>-<offset>``. Writing a record
back and noting that on the dead-letter topic is one transaction, so that no letter is written back
twice, even by two people at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from chassis.dead_letters import MAX_VALUE_BYTES
from chassis.errors import UsageError
from chassis.kafka import Kafka, Record, TopicPartition, read_range
from schemas.dead_letters import REQUEUED, REQUEUED_FROM, DeadLetterPlace


@dataclass(frozen=True, slots=True)
class Letter:
    """``place`` is where the record came from; ``size`` is None where the letter has no value.
    ``requeued_at`` is when it was written back, if it was."""

    id: str
    at: datetime
    place: DeadLetterPlace
    size: int | None
    requeued_at: datetime | None = None


async def read_letters(kafka: Kafka) -> list[Letter]:
    """Every dead letter, oldest first, without its value. Records of another kind are passed over."""
    letters: dict[str, Letter] = {}
    notes: list[tuple[str, datetime]] = []

    def each(record: Record) -> None:
        at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        note = dict(record.headers).get(REQUEUED)
        if note is not None:
            notes.append((note.decode("utf-8", "replace"), at))
            return
        letter = _letter(record, at)
        if letter is not None:
            letters[letter.id] = letter

    for place, (begin, end) in (await _ends(kafka)).items():
        await read_range(kafka, place, begin, end - 1, each=each)
    for identity, at in notes:
        if identity in letters:
            letters[identity] = replace(letters[identity], requeued_at=at)
    return sorted(letters.values(), key=lambda letter: (letter.at, letter.id))


def refusal(
    letter: Letter, others: Iterable[Letter], partitions: Mapping[str, int], *, whole: bool
) -> str | None:
    """Why writing the record back cannot lead to anything, or None. ``partitions`` are those of every
    topic on the broker; ``whole`` allows records of which a part may have been read."""
    place = letter.place
    if letter.requeued_at is not None:
        return (
            f"was requeued at {letter.requeued_at:%Y-%m-%dT%H:%M:%SZ}; a new letter follows if it fails again"
        )
    if place.item is not None and not letter.size:
        first = next((other.id for other in others if other.size and _same_record(other, letter)), None)
        kept = f"letter {first}" if first else "a letter that is there no more"
        return f"names item {place.item} of a record whose value is in {kept}"
    if not letter.size:
        return "has no value, and no consumer reads an empty record"
    if place.value_bytes is not None or letter.size >= MAX_VALUE_BYTES:
        whole_size = "more" if place.value_bytes is None else str(place.value_bytes)
        return f"keeps only the first {letter.size} of {whole_size} bytes of its record; publish that anew"
    if place.key_bytes is not None:
        return f"keeps only the beginning of a key of {place.key_bytes} bytes; publish the record anew"
    if place.item is not None and not whole:
        return (
            f"is about item {place.item} of a record whose other items may have been read, and would be read "
            "twice; --whole writes it back all the same"
        )
    if place.topic not in partitions:
        return f"comes from {place.topic}, and there is no such topic"
    if place.partition >= partitions[place.topic]:
        return f"comes from partition {place.partition}; {place.topic} has {partitions[place.topic]} now"
    return None


async def read_letter(kafka: Kafka, identity: str) -> tuple[Letter, Record]:
    """One letter with its record; raises UsageError where there is none of this id."""
    found: list[tuple[Letter, Record]] = []

    def each(record: Record) -> None:
        letter = _letter(record, datetime.fromtimestamp(record.timestamp / 1000, UTC))
        if letter is not None:
            found.append((letter, record))

    partition, _, offset = identity.partition("-")
    if partition.isdigit() and offset.isdigit() and len(identity) < 40:
        place = TopicPartition(kafka.topic("dead-letter"), int(partition))
        begin, end = (await _ends(kafka)).get(place, (0, 0))
        if begin <= int(offset) < end:
            await read_range(kafka, place, int(offset), int(offset), each=each)
    if not found:
        raise unknown(identity)
    return found[0]


def unknown(identity: str) -> UsageError:
    """There is no letter of this id."""
    return UsageError(f"there is no dead letter {identity!r}. `backout dead-letters list` shows them")


async def requeue(kafka: Kafka, identities: Collection[str]) -> list[tuple[str, int]]:
    """Write these letters' records back to where they came from, each in one transaction with a note
    of it; where they went, as (id, offset). Who else is at it is fenced (Fenced).

    Raises UsageError for a letter that was requeued meanwhile; those before it are done.
    """
    done = []
    async with kafka.producer(transactional_id=kafka.group("requeue")) as producer:
        # From here on nobody else can note anything, so what is noted now is all there is.
        noted = {letter.id for letter in await read_letters(kafka) if letter.requeued_at is not None}
        for identity in identities:
            letter, record = await read_letter(kafka, identity)
            if identity in noted:
                raise UsageError(f"letter {identity} was requeued meanwhile")
            source, note = f"{record.topic}/{identity}", identity.encode()
            async with producer.transaction():
                appended = await producer.send(
                    letter.place.topic,
                    record.value,
                    key=record.key,
                    partition=letter.place.partition,
                    headers=[(REQUEUED_FROM, source.encode())],
                )
                await producer.send(record.topic, b"", key=record.key, headers=[(REQUEUED, note)])
            done.append((identity, appended.offset))
    return done


def _letter(record: Record, at: datetime) -> Letter | None:
    try:
        place = DeadLetterPlace.from_headers(list(record.headers))
    except ValueError:
        return None
    size = None if record.value is None else len(record.value)
    return Letter(f"{record.partition}-{record.offset}", at, place, size)


def _same_record(one: Letter, other: Letter) -> bool:
    return (one.place.topic, one.place.partition, one.place.offset) == (
        other.place.topic,
        other.place.partition,
        other.place.offset,
    )


async def _ends(kafka: Kafka) -> dict[TopicPartition, tuple[int, int]]:
    """The first offset and the one after the last, by partition of the dead-letter topic."""
    topic = kafka.topic("dead-letter")
    async with kafka.consumer(topic) as consumer:
        places = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for(topic))]
        begins = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
    return {place: (begins[place], ends[place]) for place in places}
