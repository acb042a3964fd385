"""``backout metrics publish``: samples from a file, as another system would publish them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from chassis.errors import BackoutError, UsageError
from chassis.json_lines import beginning
from chassis.kafka import MAX_REQUEST_BYTES, Appended, Kafka, Producer
from chassis.kafka_admin import TopicState, inspect_topics
from chassis.settings import load_settings
from schemas.metrics import MetricsRecord, Sample, read_record

app = typer.Typer(no_args_is_help=True, help="Publish metric samples.")

_SHOWN_PROBLEMS = 20
_IN_FLIGHT = 1_000
_CHUNK = 65_536
# Room for the record's key and framing below what a producer may send.
_LONGEST_LINE = MAX_REQUEST_BYTES - 4_096


@app.callback()
def metrics() -> None:
    """Publish metric samples."""


class BadLines(BackoutError):
    """Some lines are not samples; the others were published."""


@dataclass(slots=True)
class Outcome:
    """What became of a file's lines."""

    records: int = 0
    samples: int = 0
    bad_lines: int = 0
    pending: deque[asyncio.Task[Appended]] = field(default_factory=deque)


@app.command()
def publish(
    file: Annotated[
        str, typer.Argument(help="JSON lines, each a sample, a batch or a release; - is standard input.")
    ],
) -> None:
    """Publish JSON lines to the metrics topic, each under its component.

    A line that is not a sample, or a batch that holds one that is not, is reported with its number
    and not published. The others are, and the exit status is then 1.
    """
    kafka = Kafka.of(load_settings(), "cli")
    with ExitStack() as stack:
        descriptor = sys.stdin.fileno() if file == "-" else _open(file, stack)
        outcome = asyncio.run(_publish(kafka, descriptor, "standard input" if file == "-" else file))
    typer.echo(f"Published {outcome.records} records with {outcome.samples} samples.")
    if outcome.bad_lines:
        raise BadLines(f"{outcome.bad_lines} of the lines were not published")


def records_of(line: bytes) -> tuple[list[tuple[str, bytes]], int, list[str]]:
    """(component and value of each record to send, number of samples, what is wrong with the line).

    A release goes out as it stands. A batch over several components is parted: a record has one
    component as its key.
    """
    if len(line) > _LONGEST_LINE:
        return [], 0, [f"{len(line)} bytes, more than {_LONGEST_LINE}: part the batch"]
    record = read_record(line)
    problems = list(_problems(record))
    if problems:
        return [], 0, problems
    if record.release is not None:
        return [(record.release.component, line)], 0, []
    by_component: dict[str, list[Sample]] = {}
    for sample in record.samples:
        by_component.setdefault(sample.component, []).append(sample)
    if len(by_component) == 1:
        return [(next(iter(by_component)), line)], len(record.samples), []
    parted = [
        (component, msgspec.json.encode({"samples": samples})) for component, samples in by_component.items()
    ]
    return parted, len(record.samples), []


def _problems(record: MetricsRecord) -> Iterator[str]:
    for unread in record.unread:
        where = "" if unread.item is None else f"sample {unread.item} of the batch: "
        yield f"{where}{unread.error}"
    if record.clock is not None:
        yield "a clock record, which only the monitor writes"
    elif not record.samples and not record.unread and record.release is None:
        yield "a batch without samples"


def _open(file: str, stack: ExitStack) -> int:
    try:
        return stack.enter_context(Path(file).open("rb")).fileno()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}. Name a file of JSON lines, or -") from error


async def _publish(kafka: Kafka, descriptor: int, source: str) -> Outcome:
    topic = kafka.topic("metrics")
    states = {report.id: report.state for report in await inspect_topics(kafka)}
    if states["metrics"] is TopicState.MISSING:
        raise UsageError(f"there is no topic {topic}. Create it with `backout topics init`")
    outcome = Outcome()
    async with kafka.producer(linger_ms=5) as producer:
        number = 0
        async for line in _lines(descriptor, source):
            number += 1
            if number == 1:
                line = beginning(line, source)
            if not line.strip():
                continue
            records, samples, problems = records_of(line)
            if problems:
                _report(outcome, source, number, problems)
                continue
            await _send(producer, topic, records, outcome)
            outcome.samples += samples
        while outcome.pending:
            await outcome.pending.popleft()
    return outcome


async def _send(
    producer: Producer, topic: str, records: Iterable[tuple[str, bytes]], outcome: Outcome
) -> None:
    for component, value in records:
        outcome.pending.append(await producer.enqueue(topic, value, key=component.encode()))
        outcome.records += 1
        if len(outcome.pending) > _IN_FLIGHT:
            await outcome.pending.popleft()


def _report(outcome: Outcome, source: str, number: int, problems: list[str]) -> None:
    outcome.bad_lines += 1
    if outcome.bad_lines <= _SHOWN_PROBLEMS:
        for problem in problems[:3]:
            typer.echo(f"{source}:{number}: {problem}", err=True)
    elif outcome.bad_lines == _SHOWN_PROBLEMS + 1:
        typer.echo("further bad lines are counted, not shown", err=True)


async def _lines(descriptor: int, source: str) -> AsyncIterator[bytes]:
    """Lines as they come, so that a pipe is published while it is written."""
    rest = b""
    while True:
        try:
            chunk = await asyncio.to_thread(os.read, descriptor, _CHUNK)
        except OSError as error:
            raise UsageError(f"cannot read {source}: {error.strerror}") from error
        if not chunk:
            break
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
    if rest:
        yield rest
