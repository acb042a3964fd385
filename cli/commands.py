"""Asking by a command: who asks, until when it counts, and onto the topic that the services read."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from chassis.errors import UsageError
from chassis.kafka import Kafka
from chassis.settings import Settings
from cli.sending import send_event, user
from schemas.commands import MAX_REASON, Command
from schemas.envelope import make_event


def issued(settings: Settings, reason: str) -> dict[str, Any]:
    """The fields that every command has: issued now by whoever runs this process. Raises UsageError for
    a reason that is too long."""
    if len(reason) > MAX_REASON:
        raise UsageError(
            f"--reason has {len(reason)} characters, more than {MAX_REASON}. Nothing was written: shorten it"
        )
    now = datetime.now(UTC)
    return {
        "issued_by": user(),
        "issued_at": now,
        "expires_at": now + timedelta(seconds=settings.executor.command_max_age_s),
        # What a shell hands on need not be UTF-8.
        "reason": reason.encode("utf-8", "replace").decode(),
    }


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
    await send_event(kafka, "commands", event)
    return command_id
