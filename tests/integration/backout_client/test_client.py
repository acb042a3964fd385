"""The client on the real broker: a topic that comes later, decisions in their order, no broker at all."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from backout_client import BreakerClient
from chassis.embedded.kafka import EmbeddedKafka
from chassis.embedded.ports import free_ports
from chassis.kafka import Kafka, Producer
from chassis.kafka_admin import delete_topics, ensure_topics
from chassis.settings import KafkaSettings
from tests.conftest import CACHE_DIR
from tests.integration.conftest import Backout
from tests.polling import eventually

EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples" / "breakers"


async def _write(kafka: Kafka, producer: Producer, key: str, name: str, **data: Any) -> None:
    event = json.loads((EXAMPLES / f"{name}.json").read_text())
    event["data"].update(data)
    await producer.send(kafka.topic("breakers"), json.dumps(event).encode(), key=key.encode())


async def _is_alive(kafka: Kafka, producer: Producer) -> None:
    await _write(kafka, producer, "alive/2", "alive", through=datetime.now(UTC).isoformat())


def _client(kafka: Kafka, **options: Any) -> BreakerClient:
    return BreakerClient(kafka.bootstrap_servers, topic=kafka.topic("breakers"), **options)


async def _answers(client: BreakerClient, component: str, reason: str) -> None:
    async def is_so() -> bool:
        return client.decide(component).reason == reason

    await eventually(is_so, timeout_s=30, what=f"{component} is answered {reason}")


async def test_a_topic_that_is_missing_is_named_and_read_once_it_is_there(
    kafka: Kafka, backout: Backout
) -> None:
    started = time.monotonic()
    listed = backout("breakers", "list")
    assert (listed.status, listed.out) == (2, "")
    assert f"{kafka.topic('breakers')}: there is no such topic. Run `backout topics init`" in listed.err
    assert time.monotonic() - started < 15
    async with _client(kafka, when_stale="open", stale_fallback="reject") as client:

        async def is_named() -> bool:
            return "there is no topic" in (client.problem or "")

        await eventually(is_named, what="the missing topic is named")
        assert client.decide("c").reason == "not_read_yet"
        assert client.decide("c").fallback == "reject"
        await ensure_topics(kafka)
        try:
            assert await client.wait_until_read(30)
            assert client.problem is None
            assert client.decide("c").reason == "stale"
        finally:
            await delete_topics(kafka)


@pytest.mark.usefixtures("topics")
async def test_the_newest_decision_counts_and_what_cannot_be_read_is_passed_over(
    kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    async with kafka.producer() as producer, _client(kafka) as client:
        assert await client.wait_until_read(20)
        await _is_alive(kafka, producer)
        await _write(kafka, producer, "pdf_extraction", "open")
        await _answers(client, "pdf_extraction", "open")
        for _ in range(20):
            await producer.send(kafka.topic("breakers"), b"garbage", key=b"pdf_extraction")
        await _write(kafka, producer, "pdf_extraction", "half-open")
        await _answers(client, "pdf_extraction", "probing")
        assert client.unreadable == 20
        told = [record.getMessage() for record in caplog.records if record.name == "backout_client.breakers"]
        (words,) = told
        assert "is passed over (the 1. such record): JSONDecodeError" in words
        async with _client(kafka) as later:
            assert await later.wait_until_read(20)
            assert later.components() == {"pdf_extraction": "half_open"}
        await producer.send(kafka.topic("breakers"), None, key=b"pdf_extraction")
        await _answers(client, "pdf_extraction", "unknown_component")
        age = client.sign_of_life_age_s
        assert age is not None
        assert 0 <= age < 30


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("ahead_s", [3_600.0, -3_600.0])
async def test_a_wrong_clock_makes_no_decision_stale(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    wrong = SimpleNamespace(time=lambda: time.time() + ahead_s, monotonic=time.monotonic)
    monkeypatch.setattr("backout_client.breakers.time", wrong)
    async with kafka.producer() as producer, _client(kafka) as client:
        assert await client.wait_until_read(20)
        await _write(kafka, producer, "pdf_extraction", "open")
        await _is_alive(kafka, producer)
        await _answers(client, "pdf_extraction", "open")


@pytest.mark.usefixtures("topics")
async def test_it_is_entered_once_at_a_time_and_again_after_it_was_left(kafka: Kafka) -> None:
    client = _client(kafka)
    async with client:
        assert await client.wait_until_read(20)
        with pytest.raises(RuntimeError, match="entered already"):
            await client.__aenter__()
    assert client.problem == "left: the topic is not read any more"
    await client.__aexit__(None, None, None)
    async with client, kafka.producer() as producer:
        assert await client.wait_until_read(20)
        await _is_alive(kafka, producer)
        await _write(kafka, producer, "pdf_extraction", "open")
        await _answers(client, "pdf_extraction", "open")


@pytest.mark.usefixtures("topics")
async def test_what_is_cancelled_inside_of_aiokafka_does_not_end_it(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = 0

    class Cancelled(AIOKafkaConsumer):  # type: ignore[misc]
        async def start(self) -> None:
            nonlocal begun
            begun += 1
            if begun == 1:
                raise asyncio.CancelledError
            await super().start()

    monkeypatch.setattr("backout_client.breakers.AIOKafkaConsumer", Cancelled)
    async with _client(kafka) as client:
        assert await client.wait_until_read(20)
    running = asyncio.ensure_future(_run_until_cancelled(_client(kafka)))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 10)


async def _run_until_cancelled(client: BreakerClient) -> None:
    async with client:
        await asyncio.Event().wait()


async def test_without_a_broker_it_answers_as_configured_and_stops_at_once() -> None:
    (port,) = free_ports(1)
    started = time.monotonic()
    async with BreakerClient(f"127.0.0.1:{port}", when_stale="open") as client:
        assert not await client.wait_until_read(0.5)
        decision = client.decide("c")
        assert (decision.allowed, decision.reason) == (False, "not_read_yet")
        assert client.problem is not None
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("options", "words"),
    [({"bogus": 1}, "unexpected keyword argument 'bogus'"), ({"security_protocol": "SSL"}, "ssl_context")],
)
async def test_options_that_no_consumer_can_be_made_of_are_refused_at_the_start(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=f"{words}.*Check bootstrap_servers and consumer_options"):
        async with BreakerClient("127.0.0.1:9092", consumer_options=options):
            pass


async def test_what_does_not_pass_by_itself_is_tried_less_and_less_and_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``host:port`` fails within the client's start, each time at once and by no error of the network."""
    begun: list[float] = []

    class Counted(AIOKafkaConsumer):  # type: ignore[misc]
        async def start(self) -> None:
            begun.append(time.monotonic())
            await super().start()

    monkeypatch.setattr("backout_client.breakers.AIOKafkaConsumer", Counted)
    with caplog.at_level(logging.WARNING, logger="backout_client.breakers"):
        async with BreakerClient("host:port") as client:
            assert not await client.wait_until_read(3)
            assert client.decide("c").reason == "not_read_yet"
    assert client.problem is not None
    assert "ValueError" in client.problem
    pauses = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert len(pauses) >= 2
    assert all(later > 1.5 * earlier for earlier, later in itertools.pairwise(pauses))
    told = [record for record in caplog.records if record.name == "backout_client.breakers"]
    assert [record.levelname for record in told] == ["WARNING"]
    assert told[0].exc_info is not None


async def test_a_broker_that_goes_is_named_and_followed_again_once_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backout_client.breakers._QUIET_S", 1.0)
    monkeypatch.setattr("backout_client.breakers._ANSWER_PATIENCE_S", 2.0)
    broker = EmbeddedKafka(tmp_path / "kafka", cache_dir=CACHE_DIR)
    await asyncio.to_thread(broker.start)
    try:
        kafka = Kafka(broker.bootstrap_servers, KafkaSettings(session_timeout_ms=3_000), client_id="test")
        await ensure_topics(kafka)
        async with _client(kafka) as client:
            assert await client.wait_until_read(30)
            assert client.problem is None
            await asyncio.to_thread(broker.stop)

            async def is_named() -> bool:
                return client.problem is not None

            await eventually(is_named, timeout_s=40, what="the absence of the broker is named")
            await asyncio.to_thread(broker.start)

            async def is_followed() -> bool:
                return client.problem is None

            await eventually(is_followed, timeout_s=60, what="the topic is followed again")
    finally:
        await asyncio.to_thread(broker.stop)
