"""``backout dead-letters``: what consumers could not read, and writing it back once they can."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from chassis.errors import BackoutError, UsageError
from chassis.kafka import Kafka, Record
from chassis.kafka_admin import partition_counts
from chassis.requeue import Letter, WriteBack, plan, read_letter, read_letters, requeue, unknown
from chassis.settings import load_settings
from cli.output import Output, OutputOption, clock, rfc3339, write_json, write_table
from cli.times import TIME_HELP, parse_time

app = typer.Typer(no_args_is_help=True, help="Dead letters: list, show, write back to their source.")

TopicOption = Annotated[
    str, typer.Option("--topic", help="Only of this source topic (its name, or how it begins).")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Only of this reason, such as invalid_json.")]
SinceOption = Annotated[str, typer.Option("--since", metavar="TIME", help=f"Only since then: {TIME_HELP}.")]
_SHOWN_BYTES = 2_000


class NotAllRequeued(BackoutError):
    """Some of the letters cannot be written back; the others were."""


@app.command("list")
def list_letters(
    topic: TopicOption = "",
    reason: ReasonOption = "",
    since: SinceOption = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the newest; 0 shows all.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """List dead letters, oldest first: when, where from, who could not read it, and why.

    REQUEUED is when the record was written back, with this letter or with another of the same record.
    """
    kafka = _kafka()
    chosen = _chosen(asyncio.run(_read(kafka))[0], topic, reason, since)
    shown = chosen[-limit:] if limit else chosen
    if len(shown) < len(chosen):
        typer.echo(f"{len(chosen) - len(shown)} older ones are not shown; --limit 0 shows all", err=True)
    if output is Output.JSON:
        write_json([_as_json(letter) for letter in shown])
        return
    if not shown:
        typer.echo("No dead letters.")
        return
    headings = ("ID", "AT", "TOPIC", "PARTITION", "OFFSET", "ITEM", "CONSUMER", "REASON", "REQUEUED")
    write_table(headings, (_row(letter) for letter in shown))


@app.command()
def show(
    identity: Annotated[str, typer.Argument(metavar="ID", help="A letter's id, as `list` shows it.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one dead letter: its place, the error in full, its value, and the record's other letters."""
    kafka = _kafka()
    letter, same_record, record = asyncio.run(_show(kafka, identity))
    shown = {**_as_json(letter), "same_record": [other.id for other in same_record]}
    if output is Output.JSON:
        write_json({**shown, "key": _content(record.key), "value": _content(record.value)})
        return
    for name, value in shown.items():
        if value not in (None, []):
            text = ", ".join(value) if isinstance(value, list) else str(value)
            typer.echo(f"{name + ':':<13}{_printable(text)}")
    for name, content in (("key", record.key), ("value", record.value)):
        if content is not None:
            typer.echo(f"{name + ':':<13}{_readable(content)}")


@app.command("requeue")
def requeue_letters(
    identities: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Letters' ids.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that the options below leave.")] = False,
    topic: TopicOption = "",
    reason: ReasonOption = "",
    since: SinceOption = "",
    whole: Annotated[
        bool, typer.Option("--whole", help="Also records of which a part may have been read already.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Write the records of dead letters back to where they came from, byte for byte.

    Mend the consumer first, or they come back as new letters. Each goes to its old partition, at its
    end, with its key and a header that names the letter. A record that several consumers set aside is
    written back once, for all its letters, and never again. Exit status 2 with nothing done if a
    letter that is named cannot be written back; with --all, those that cannot are named and left,
    and the exit status is 1.
    """
    if bool(identities) is every:
        raise UsageError("name the letters, or choose them with --all")
    if identities and (topic or reason or since):
        raise UsageError("--topic, --reason and --since go with --all, not with ids")
    kafka = _kafka()
    letters, partitions = asyncio.run(_read(kafka))
    by_id = {letter.id: letter for letter in letters}
    for identity in identities or ():
        if identity not in by_id:
            raise unknown(identity)
    wanted = (
        [by_id[identity] for identity in dict.fromkeys(identities)]
        if identities
        else [letter for letter in _chosen(letters, topic, reason, since) if letter.requeued_at is None]
    )
    writes, refused = plan(wanted, letters, partitions, whole=whole)
    if refused and not every:
        raise UsageError("nothing was done: " + "; ".join(f"{name} {why}" for name, why in refused.items()))
    for name, why in refused.items():
        typer.echo(f"{name} is left: it {why}", err=True)
    _requeue(kafka, writes, dry_run=dry_run, yes=yes)
    if refused and not dry_run:
        raise NotAllRequeued(f"{len(refused)} letters were left")


def _requeue(kafka: Kafka, writes: Sequence[WriteBack], *, dry_run: bool, yes: bool) -> None:
    for write in writes:
        letter, place = write.letter, write.letter.place
        others = [other.id for other in write.letters if other.id != letter.id]
        also = f"; for {', '.join(others)} as well, of the same record" if others else ""
        typer.echo(
            f"{letter.id} → {place.topic}[{place.partition}]: {letter.size} bytes, {place.reason}{also}"
        )
    if dry_run or not writes:
        typer.echo(f"{_count(writes)} would be requeued." if dry_run else "Nothing to requeue.")
        return
    if not yes and not typer.confirm(f"Write {_count(writes)} back to their source?", err=True):
        raise typer.Exit(1)
    asyncio.run(requeue(kafka, writes))
    typer.echo(f"Requeued {_count(writes)}.")


def _count(writes: Sequence[WriteBack]) -> str:
    """How many records, and of how many letters where that says more."""
    letters = sum(len(write.letters) for write in writes)
    return str(len(writes)) if letters == len(writes) else f"{len(writes)} (records of {letters} letters)"


async def _read(kafka: Kafka) -> tuple[list[Letter], dict[str, int]]:
    partitions = await _partitions(kafka)
    return await read_letters(kafka), partitions


async def _show(kafka: Kafka, identity: str) -> tuple[Letter, list[Letter], Record]:
    """The letter, the others of its record, and what it holds."""
    await _partitions(kafka)
    _, record = await read_letter(kafka, identity)
    letters = await read_letters(kafka)
    letter = next((letter for letter in letters if letter.id == identity), None)
    if letter is None:
        raise unknown(identity)
    same = [one for one in letters if one.place.origin == letter.place.origin and one.id != identity]
    return letter, same, record


async def _partitions(kafka: Kafka) -> dict[str, int]:
    partitions = await partition_counts(kafka)
    topic = kafka.topic("dead-letter")
    if topic not in partitions:
        raise UsageError(f"there is no topic {topic}. Create it with `backout topics init`")
    return partitions


def _kafka() -> Kafka:
    return Kafka.of(load_settings(), f"cli-{os.getpid()}")


def _chosen(letters: Sequence[Letter], topic: str, reason: str, since: str) -> list[Letter]:
    begin = datetime.fromtimestamp(parse_time("--since", since), UTC) if since else None
    return [
        letter
        for letter in letters
        if letter.place.topic.startswith(topic)
        and (not reason or letter.place.reason == reason)
        and (begin is None or letter.at >= begin)
    ]


def _row(letter: Letter) -> tuple[object, ...]:
    place = letter.place
    return (
        letter.id,
        clock(letter.at),
        place.topic,
        place.partition,
        place.offset,
        place.item,
        place.consumer,
        place.reason,
        clock(letter.requeued_at),
    )


def _as_json(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "at": rfc3339(letter.at),
        **letter.place.model_dump(),
        "size": letter.size,
        "requeued_at": None if letter.requeued_at is None else rfc3339(letter.requeued_at),
        "requeued_by": letter.requeued_by,
    }


def _content(content: bytes | None) -> dict[str, str] | None:
    """As text where it is one; otherwise in Base64."""
    if content is None:
        return None
    try:
        return {"text": content.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _readable(content: bytes) -> str:
    """The beginning for a person: text as it is, but for what would move the cursor; else hexadecimal."""
    beginning = content[:_SHOWN_BYTES]
    more = f" … ({len(content)} bytes; -o json shows all)" if len(content) > _SHOWN_BYTES else ""
    try:
        text = beginning.decode("utf-8", "strict" if not more else "ignore")
    except UnicodeDecodeError:
        return beginning.hex(" ") + more
    return _printable(text) + more


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
