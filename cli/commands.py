"""Asking by a command: who asks, until when it counts, and onto the topic that the services read."""

from __future__ import annotations

import getpass
import os
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from chassis.errors import UsageError
from chassis.kafka import Kafka
from chassis.kafka_admin import TopicState, inspect_topics
from chassis.settings import Settings
from schemas.commands import Command
from schemas.envelope import CONTENT_TYPE, make_event
from schemas.topics import TopicId


def issued(settings: Settings, reason: str) -> dict[str, Any]:
    """The fields that every command has: issued now by whoever runs this process."""
    now = datetime.now(UTC)
    return {
        "issued_by": _user(),
        "issued_at": now,
        "expires_at": now + timedelta(seconds=settings.executor.command_max_age_s),
        "reason": reason,
    }


def _user() -> str:
    """Who is asking; in a container, whose user may have no name, the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


async def require_topics(kafka: Kafka, *needed: TopicId) -> None:
    """Raise UsageError for topics that are not there: a send would only wait for them."""
    names = {kafka.topic(topic) for topic in needed}
    reports = await inspect_topics(kafka)
    missing = [item.name for item in reports if item.name in names and item.state is TopicState.MISSING]
    if missing:
        raise UsageError(f"there is no topic {', '.join(missing)}. Create it with `backout topics init`")


async def send_command(kafka: Kafka, command: Command, component: str, *, incident: str | None = None) -> str:
    """Send it and return its id; it begins an ``incident`` of its own unless it is about one."""
    command_id = f"cmd-{secrets.token_hex(12)}"
    event = make_event(
        command,
        event_id=command_id,
        source="/backout/cli",
        time=command.issued_at,
        subject=component,
        correlationid=incident or command_id,
    )
    async with kafka.producer() as producer:
        await producer.send(
            kafka.topic("commands"),
            event.to_bytes(),
            key=component.encode(),
            headers=[("content-type", CONTENT_TYPE.encode())],
        )
    return command_id
