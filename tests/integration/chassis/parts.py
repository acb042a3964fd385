"""What the tests of the chassis share: an outbox of their own, events to put in it, and waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from chassis.inbox import inbox_table
from chassis.kafka import Kafka, Record, TopicPartition, read_range
from chassis.outbox import outbox_table
from schemas.commands import PauseCommand
from schemas.envelope import Event, make_event
from schemas.topics import TopicId

SCHEMA = "parts"
NOW = datetime(2026, 11, 2, 9, 14, 31, tzinfo=UTC)
UNSENT = "SELECT count(*) FROM parts.outbox WHERE sent_at IS NULL"
TABLES = inbox_table(SCHEMA) + outbox_table(SCHEMA)


def command(number: int, reason: str = "") -> Event[PauseCommand]:
    """An event whose id is ``cmd-<number>``."""
    data = PauseCommand(
        issued_by="oncall@example.org", issued_at=NOW, expires_at=NOW + timedelta(minutes=10), reason=reason
    )
    identity = f"cmd-{number}"
    return make_event(
        data,
        event_id=identity,
        source="backout/test",
        time=NOW,
        subject="full_system",
        correlationid=identity,
    )


def write_package(directory: Path, name: str, **migrations: str) -> str:
    """A package of migrations, ``<name>/<migration>.sql``; returns its name."""
    package = directory / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    for migration, sql in migrations.items():
        (package / f"{migration.removeprefix('m')}.sql").write_text(sql)
    return name


async def records_of(kafka: Kafka, topic: TopicId, partition: int = 0) -> list[Record]:
    """Everything that is on a partition now."""
    place = TopicPartition(kafka.topic(topic), partition)
    async with kafka.reader(place) as reader:
        end = (await reader.end_offsets([place]))[place]
    found: list[Record] = []
    await read_range(kafka, place, 0, end - 1, each=found.append)
    return found
