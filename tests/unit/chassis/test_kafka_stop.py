"""A client of Kafka that does not stop as it should does not stop its owner either."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from aiokafka.errors import KafkaError

from chassis import kafka, kafka_stop
from chassis.errors import DependencyUnavailable
from chassis.kafka_stop import Reach


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


@dataclass
class Brokers:
    """They answer, do not, or leave whoever asks waiting."""

    answers: bool = True
    frozen: bool = False
    asked: int = 0

    async def check(self) -> None:
        self.asked += 1
        if self.frozen:
            await asyncio.Event().wait()
        if not self.answers:
            raise DependencyUnavailable("no answer")


@pytest.mark.parametrize(
    "client",
    [Client(), Client(asyncio.CancelledError()), Client(KafkaError("away")), Client(hangs=True)],
    ids=["well", "cancelled", "failed", "hanging"],
)
async def test_its_owner_goes_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_stop, "_AT_ONCE_S", 0.02)
    monkeypatch.setattr(kafka_stop, "_STOP_WAIT_S", 0.05)
    async with kafka._started(client, Reach(Brokers().check)):
        pass
    assert client._client.closed


async def test_an_error_of_ours_is_not_hidden() -> None:
    with pytest.raises(ValueError, match="wrong"):
        async with kafka._started(Client(ValueError("wrong")), Reach(Brokers().check)):
            pass


@pytest.mark.parametrize("brokers", [Brokers(answers=False), Brokers(frozen=True)], ids=["gone", "frozen"])
async def test_without_a_broker_none_of_many_clients_is_waited_for(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_stop, "_ASK_S", 0.05)
    clients, reach = [Client(hangs=True) for _ in range(5)], Reach(brokers.check)
    async with asyncio.timeout(5):
        for client in clients:
            async with kafka._started(client, reach):
                pass
    assert all(client._client.closed for client in clients)
    assert brokers.asked == 1


async def test_a_client_that_takes_its_time_is_waited_for_while_a_broker_answers() -> None:
    client, ended = Client(), asyncio.Event()

    async def slowly() -> None:
        await asyncio.sleep(kafka_stop._AT_ONCE_S * 1.5)
        ended.set()

    client.stop = slowly  # type: ignore[method-assign]
    async with kafka._started(client, Reach(Brokers().check)):
        pass
    assert ended.is_set()


async def test_a_broker_that_came_back_is_waited_for_again() -> None:
    brokers = Brokers(answers=False)
    reach = Reach(brokers.check)
    assert reach.wait_s(10) == 10
    assert await reach.lost()
    assert reach.wait_s(10) < 1
    brokers.answers = True
    assert await reach.lost(), "it is not asked again so soon"
    reach.answered()
    assert not await reach.lost()
    assert reach.wait_s(10) == 10
