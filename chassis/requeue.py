"""The dead-letter topic as an operator reads it, and records written back from it.

A letter is named by its place on the dead-letter topic, ``<partition>-<offset>``. Several may be about
one record: each consumer that cannot read it sets it aside. All of them read what is written back,
so a record is written back once, whichever of its letters is named. Writing it back and noting that on
the dead-letter topic is one transaction, so that this holds even for two people at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from chassis.dead_letters import MAX_VALUE_BYTES
from chassis.errors import UsageError
from chassis.kafka import Kafka, Record, TopicPartition, read_range
from schemas.dead_letters import REQUEUED, REQUEUED_FROM, REQUEUED_ORIGIN, DeadLetterPlace

Origin = tuple[str, int, int]
"""A record that was set aside: its topic, partition and offset."""


@dataclass(frozen=True, slots=True)
class Letter:
    """``place`` is where the record came from; ``size`` is None where the letter has no value.
    ``requeued_at`` is when the record was written back, if it was, and ``requeued_by`` the letter
    whose bytes were written: this one, or another of the same record."""

    id: str
    at: datetime
    place: DeadLetterPlace
    size: int | None
    requeued_at: datetime | None = None
    requeued_by: str | None = None


@dataclass(frozen=True, slots=True)
class WriteBack:
    """One record to be written back: from ``letter``'s bytes, for all ``letters`` of the record."""

    letter: Letter
    letters: tuple[Letter, ...]


async def read_letters(kafka: Kafka) -> list[Letter]:
    """Every dead letter, oldest first, without its value. Records of another kind are passed over."""
    letters: dict[str, Letter] = {}
    notes: list[tuple[str, Origin | None, datetime]] = []

    def each(record: Record) -> None:
        at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        headers = dict(record.headers)
        note = headers.get(REQUEUED)
        if note is not None:
            notes.append((note.decode("utf-8", "replace"), _origin(headers.get(REQUEUED_ORIGIN)), at))
            return
        letter = _letter(record, at)
        if letter is not None:
            letters[letter.id] = letter

    for place, (begin, end) in (await _ends(kafka)).items():
        await read_range(kafka, place, begin, end - 1, each=each)
    return marked(sorted(letters.values(), key=lambda letter: (letter.at, letter.id)), notes)


def marked(letters: Sequence[Letter], notes: Iterable[tuple[str, Origin | None, datetime]]) -> list[Letter]:
    """These letters, each with the first note (letter, record, time) about its record, if there is one.

    Letters that were set aside after the note count as well: their consumer reads what was written back."""
    by_id = {letter.id: letter for letter in letters}
    first: dict[Origin, tuple[str, datetime]] = {}
    for identity, origin, at in notes:
        if origin is None and identity in by_id:
            origin = by_id[identity].place.origin
        if origin is not None:
            first.setdefault(origin, (identity, at))
    found = []
    for letter in letters:
        by, when = first.get(letter.place.origin, (None, None))
        found.append(replace(letter, requeued_at=when, requeued_by=by))
    return found


def plan(
    wanted: Iterable[Letter], letters: Iterable[Letter], partitions: Mapping[str, int], *, whole: bool
) -> tuple[list[WriteBack], dict[str, str]]:
    """What to write back for the letters ``wanted`` of ``letters``, each record once; and why the others
    cannot be, by id. A letter that cannot itself be written back is settled by one of its record that can."""
    of_record: dict[Origin, list[Letter]] = {}
    for letter in letters:
        of_record.setdefault(letter.place.origin, []).append(letter)
    chosen: dict[Origin, list[Letter]] = {}
    for letter in wanted:
        chosen.setdefault(letter.place.origin, []).append(letter)
    writes, refused = [], {}
    for origin, asked in chosen.items():
        reasons: dict[str, str] = {}
        for letter in asked:
            reason = refusal(letter, of_record[origin], partitions, whole=whole)
            if reason is None:
                writes.append(WriteBack(letter, tuple(of_record[origin])))
                break
            reasons[letter.id] = reason
        else:
            refused.update(reasons)
    return writes, refused


def refusal(
    letter: Letter, others: Iterable[Letter], partitions: Mapping[str, int], *, whole: bool
) -> str | None:
    """Why writing the record back cannot lead to anything, or None. ``others`` hold those of its record;
    ``partitions`` are those of every topic on the broker; ``whole`` allows records of which a part may
    have been read."""
    place = letter.place
    others = [other for other in others if other.place.origin == place.origin]
    if letter.requeued_at is not None:
        by = "" if letter.requeued_by in (None, letter.id) else f" with letter {letter.requeued_by}"
        return (
            f"was requeued{by} at {letter.requeued_at:%Y-%m-%dT%H:%M:%SZ}; "
            "a new letter follows if it fails again"
        )
    if place.item is not None and not letter.size:
        first = next((other.id for other in others if other.size), None)
        kept = f"letter {first}" if first else "a letter that is there no more"
        return f"names item {place.item} of a record whose value is in {kept}"
    if not letter.size:
        return "has no value, and no consumer reads an empty record"
    if place.value_bytes is not None or letter.size >= MAX_VALUE_BYTES:
        whole_size = "more" if place.value_bytes is None else str(place.value_bytes)
        return f"keeps only the first {letter.size} of {whole_size} bytes of its record; publish that anew"
    if place.key_bytes is not None:
        return f"keeps only the beginning of a key of {place.key_bytes} bytes; publish the record anew"
    in_part = next((one for one in (letter, *others) if one.place.item is not None), None)
    if in_part is not None and not whole:
        of = "is" if in_part is letter else f"is of the record of letter {in_part.id}, which is"
        return (
            f"{of} about item {in_part.place.item} of a record whose other items may have been read, and "
            "would be read twice; --whole writes it back all the same"
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


async def requeue(kafka: Kafka, writes: Iterable[WriteBack]) -> list[tuple[str, int]]:
    """Write these records back to where they came from, each in one transaction with a note of it; where
    they went, as (the letter's id, offset). Who else is at it is fenced (Fenced).

    Raises UsageError for a record that was requeued meanwhile; those before it are done.
    """
    done = []
    async with kafka.producer(transactional_id=kafka.group("requeue")) as producer:
        # From here on nobody else can note anything, so what is noted now is all there is.
        letters = await read_letters(kafka)
        noted = {letter.place.origin for letter in letters if letter.requeued_at is not None}
        for write in writes:
            identity, place = write.letter.id, write.letter.place
            _, record = await read_letter(kafka, identity)
            if place.origin in noted:
                raise UsageError(f"letter {identity} was requeued meanwhile")
            source = f"{record.topic}/{identity}"
            note = [
                (REQUEUED, identity.encode()),
                (REQUEUED_ORIGIN, "/".join(map(str, place.origin)).encode()),
            ]
            async with producer.transaction():
                appended = await producer.send(
                    place.topic,
                    record.value,
                    key=record.key,
                    partition=place.partition,
                    headers=[(REQUEUED_FROM, source.encode())],
                )
                await producer.send(record.topic, b"", key=record.key, headers=note)
            noted.add(place.origin)
            done.append((identity, appended.offset))
    return done


def _origin(header: bytes | None) -> Origin | None:
    """The record that a note names; None of a note that names its letter alone."""
    topic, _, rest = (header or b"").decode("utf-8", "replace").partition("/")
    partition, _, offset = rest.partition("/")
    return (topic, int(partition), int(offset)) if partition.isdigit() and offset.isdigit() else None


def _letter(record: Record, at: datetime) -> Letter | None:
    try:
        place = DeadLetterPlace.from_headers(list(record.headers))
    except ValueError:
        return None
    size = None if record.value is None else len(record.value)
    return Letter(f"{record.partition}-{record.offset}", at, place, size)


async def _ends(kafka: Kafka) -> dict[TopicPartition, tuple[int, int]]:
    """The first offset and the one after the last, by partition of the dead-letter topic."""
    topic = kafka.topic("dead-letter")
    async with kafka.consumer(topic) as consumer:
        places = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for(topic))]
        begins = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
    return {place: (begins[place], ends[place]) for place in places}
