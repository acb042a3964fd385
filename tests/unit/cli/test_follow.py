"""Following a rollback while nothing comes."""

from __future__ import annotations

import socket
import time
from typing import Any, cast

import pytest

from chassis.kafka import Consumer, Kafka
from chassis.settings import KafkaSettings
from cli import follow
from cli.follow import FollowedTooLong


class SaysNothing:
    """As a client is to its user whose broker is away."""

    async def getmany(self, **_: Any) -> dict[str, list[Any]]:
        return {}


async def test_a_broker_that_is_away_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(follow, "_SILENCE_S", 0.05)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        kafka = Kafka(f"127.0.0.1:{free.getsockname()[1]}", KafkaSettings(), client_id="test")
        reader = cast("Consumer", SaysNothing())
        deadline = time.monotonic() + 0.5
        told = follow._follow(kafka, reader, "extractor", "cmd-1", deadline, 0.5)
        with pytest.raises(FollowedTooLong):
            await anext(told)
    said = capsys.readouterr().err
    assert "no answer from Kafka at 127.0.0.1" in said
    assert "The rollback goes on meanwhile" in said
