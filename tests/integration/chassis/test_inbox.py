"""An event takes effect once, and an id belongs to one body."""

from __future__ import annotations

import json

import pytest

from chassis.consume import Received
from chassis.inbox import Inbox, Novelty
from chassis.postgres import Pool
from schemas.registry import read_event
from tests.integration.chassis.parts import SCHEMA, command

pytestmark = pytest.mark.usefixtures("tables")
INBOX = Inbox(SCHEMA)


def received(value: bytes, offset: int = 0) -> Received:
    return Received(read_event(value), "backout.commands.v1", 0, offset, 0, value)


async def take(pool: Pool, value: bytes, offset: int = 0) -> Novelty:
    async with pool.acquire() as connection, connection.transaction():
        return await INBOX.take(connection, received(value, offset))


async def test_the_first_is_new_and_the_second_is_not(pool: Pool) -> None:
    value = command(1).to_bytes()
    assert await take(pool, value, offset=4) is Novelty.NEW
    assert await take(pool, value, offset=9) is Novelty.DUPLICATE
    assert await take(pool, command(2).to_bytes()) is Novelty.NEW


async def test_the_same_id_with_another_body_is_a_conflict(pool: Pool) -> None:
    assert await take(pool, command(1, "Maintenance").to_bytes()) is Novelty.NEW
    assert await take(pool, command(1, "Something else").to_bytes()) is Novelty.CONFLICT


async def test_the_order_of_keys_and_the_time_of_sending_are_not_the_body(pool: Pool) -> None:
    event = json.loads(command(1).to_bytes())
    assert await take(pool, json.dumps(event).encode()) is Novelty.NEW
    again = dict(
        reversed(event.items()), time="2026-11-02T10:00:00Z", data=dict(reversed(event["data"].items()))
    )
    assert await take(pool, json.dumps(again).encode()) is Novelty.DUPLICATE


async def test_a_field_that_this_version_does_not_know_is_part_of_the_body(pool: Pool) -> None:
    event = json.loads(command(1).to_bytes())
    event["data"]["approved_by"] = "oncall@example.org"
    assert await take(pool, json.dumps(event).encode()) is Novelty.NEW
    event["data"]["approved_by"] = "lead@example.org"
    assert await take(pool, json.dumps(event).encode()) is Novelty.CONFLICT


async def test_an_effect_that_is_rolled_back_has_not_been_taken(pool: Pool) -> None:
    value = command(1).to_bytes()
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert await INBOX.take(connection, received(value)) is Novelty.NEW
        await transaction.rollback()
    assert await take(pool, value) is Novelty.NEW
