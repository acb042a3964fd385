"""Opening the database: what is wrong is said, at once, and without the password."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from chassis.errors import ConfigError, DependencyUnavailable
from chassis.postgres import open_pool
from chassis.settings import PostgresSettings, Settings


def settings_of(dsn: str) -> Settings:
    return Settings(postgres=PostgresSettings.model_validate({"dsn": dsn}))


@pytest.mark.parametrize(
    "dsn",
    [
        # An unescaped character of the password ends the address too early, and the rest looks like a port.
        "postgresql://backout:s3cr/et@127.0.0.1:1/backout",
        "postgresql://backout:s3cr#et@127.0.0.1:1/backout",
        "postgresql://backout:s3cr?et@127.0.0.1:1/backout",
        "s3cr:et@127.0.0.1:1/backout",
    ],
)
async def test_a_wrong_address_is_named_without_any_part_of_it(dsn: str) -> None:
    with pytest.raises(ConfigError) as caught:
        async with open_pool(settings_of(dsn), "test"):
            pass
    assert "s3cr" not in str(caught.value)
    assert "BACKOUT_POSTGRES__DSN" in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.fixture
async def mute() -> AsyncIterator[int]:
    """A port where connections are taken and nothing is ever said."""
    gone = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])
        gone.set()


async def test_a_database_that_says_nothing_is_given_up_in_time_and_by_name(mute: int) -> None:
    began = time.monotonic()
    settings = settings_of(f"postgresql://backout:x@127.0.0.1:{mute}/backout?sslmode=disable")
    with pytest.raises(DependencyUnavailable, match=r"no answer from Postgres within 1 s: TimeoutError"):
        async with open_pool(settings, "test", timeout_s=1.0):
            pass
    assert time.monotonic() - began < 3.0
