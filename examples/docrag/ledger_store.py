"""The ledger in Postgres: the component's recorded configuration and every effect by its key."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from examples.docrag.database import Connection
from examples.docrag.ledger import ControlRequest
from examples.docrag.routing import COMPONENT, ExtractionConfiguration, checksum_of

_READ_COMPONENT = """
    SELECT highest_epoch, config, config_checksum, previous_checksum
      FROM docrag.components WHERE component = $1
"""
_LOCK_COMPONENT = _READ_COMPONENT + " FOR UPDATE"
_CREATE_COMPONENT = """
    INSERT INTO docrag.components (component, highest_epoch, config, config_checksum) VALUES ($1, $2, $3, $4)
"""
_CHANGE_COMPONENT = """
    UPDATE docrag.components
       SET highest_epoch = $2, config = $3, previous_checksum = config_checksum, config_checksum = $4,
           updated_at = clock_timestamp()
     WHERE component = $1
"""
_RAISE_EPOCH = "UPDATE docrag.components SET highest_epoch = $2 WHERE component = $1"
_COUNT_REQUEST = "UPDATE docrag.effects SET times_requested = times_requested + 1 WHERE key = $1"
_INSERT_EFFECT = """
    INSERT INTO docrag.effects (key, component, epoch, method, path, body, fingerprint, status, answer)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8)
"""
_SETTLE = """
    UPDATE docrag.effects SET status = 'applied', applied_at = clock_timestamp()
     WHERE component = $1 AND status = 'pending'
"""
_EFFECT = """
    SELECT key, component, epoch, method, path, body, status, answer,
           times_requested, requested_at, applied_at
      FROM docrag.effects
"""


@dataclass(frozen=True)
class ComponentRecord:
    """The component as recorded: highest epoch seen, configuration, its checksum and the one before."""

    highest_epoch: int
    config: ExtractionConfiguration
    checksum: str
    previous_checksum: str | None


@dataclass(frozen=True)
class RecordedAnswer:
    """What is recorded under a key: the request's fingerprint and the answer it got."""

    fingerprint: str
    answer: dict[str, Any]


async def read_component(connection: Connection, *, lock: bool = False) -> ComponentRecord | None:
    """The record, None before the first start. With `lock`, held to the end of the transaction."""
    row = await connection.fetchrow(_LOCK_COMPONENT if lock else _READ_COMPONENT, COMPONENT)
    if row is None:
        return None
    return ComponentRecord(
        highest_epoch=row["highest_epoch"],
        config=ExtractionConfiguration.model_validate_json(row["config"]),
        checksum=row["config_checksum"],
        previous_checksum=row["previous_checksum"],
    )


async def create_component(connection: Connection, config: ExtractionConfiguration) -> None:
    """Record the configuration of a component that has no record yet."""
    arguments = (COMPONENT, config.epoch, config.model_dump_json(), checksum_of(config))
    await connection.execute(_CREATE_COMPONENT, *arguments)


async def change_component(
    connection: Connection, config: ExtractionConfiguration, highest_epoch: int
) -> None:
    """Record a new configuration; the recorded one becomes the previous."""
    arguments = (COMPONENT, highest_epoch, config.model_dump_json(), checksum_of(config))
    await connection.execute(_CHANGE_COMPONENT, *arguments)


async def raise_epoch(connection: Connection, highest_epoch: int) -> None:
    """Record the highest epoch seen."""
    await connection.execute(_RAISE_EPOCH, COMPONENT, highest_epoch)


async def find_answer(connection: Connection, key: str) -> RecordedAnswer | None:
    """What is recorded under a key."""
    row = await connection.fetchrow("SELECT fingerprint, answer FROM docrag.effects WHERE key = $1", key)
    return None if row is None else RecordedAnswer(row["fingerprint"], json.loads(row["answer"]))


async def count_request(connection: Connection, key: str) -> None:
    """Count another request under a key."""
    await connection.execute(_COUNT_REQUEST, key)


async def insert_effect(connection: Connection, request: ControlRequest, answer: Mapping[str, Any]) -> None:
    """Record an effect as pending, with the answer that every request under its key gets."""
    await connection.execute(
        _INSERT_EFFECT,
        request.key,
        COMPONENT,
        request.epoch,
        request.method,
        request.path,
        json.dumps(dict(request.body)),
        request.fingerprint,
        json.dumps(dict(answer)),
    )


async def settle(connection: Connection) -> None:
    """Mark every pending effect as applied. To be called when the file shows the recorded configuration."""
    await connection.execute(_SETTLE, COMPONENT)


async def list_effects(connection: Connection) -> list[dict[str, Any]]:
    """The ledger, oldest first."""
    return [_effect(row) for row in await connection.fetch(_EFFECT + " ORDER BY sequence")]


async def find_effect(connection: Connection, key: str) -> dict[str, Any] | None:
    """One entry of the ledger."""
    row = await connection.fetchrow(_EFFECT + " WHERE key = $1", key)
    return None if row is None else _effect(row)


def _effect(row: asyncpg.Record) -> dict[str, Any]:
    applied_at = row["applied_at"]
    return {
        "key": row["key"],
        "component": row["component"],
        "epoch": row["epoch"],
        "method": row["method"],
        "path": row["path"],
        "body": json.loads(row["body"]),
        "status": row["status"],
        "answer": json.loads(row["answer"]),
        "times_requested": row["times_requested"],
        "requested_at": row["requested_at"].isoformat(),
        "applied_at": None if applied_at is None else applied_at.isoformat(),
    }
