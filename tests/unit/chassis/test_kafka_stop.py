"""A client of Kafka that does not stop as it should does not stop its owner either."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from aiokafka.errors import KafkaError

from chassis import kafka


@dataclass
class Network:
    closed: bool = False

    async def close(self) -> None:
        self.closed = True


@dataclass
class Client:
    """As aiokafka's clients: ``stop`` ends as it is told to."""

    end: BaseException | None = None
    hangs: bool = False
    _client: Network = field(default_factory=Network)

    async def start(self) -> None: ...

    async def stop(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.end is not None:
            raise self.end
        self._client.closed = True


@pytest.mark.parametrize(
    "client",
    [Client(), Client(asyncio.CancelledError()), Client(KafkaError("away")), Client(hangs=True)],
    ids=["well", "cancelled", "failed", "hanging"],
)
async def test_its_owner_goes_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "_STOP_WAIT_S", 0.05)
    async with kafka._started(client):
        pass
    assert client._client.closed


async def test_an_error_of_ours_is_not_hidden() -> None:
    with pytest.raises(ValueError, match="wrong"):
        async with kafka._started(Client(ValueError("wrong"))):
            pass
