"""Health endpoints tell the truth: about a start, a lost Postgres, a consumer that hangs, a taken port."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import Counter

from chassis.embedded.postgres import EmbeddedPostgres
from chassis.errors import ConfigError
from chassis.kafka import Kafka
from chassis.kafka_admin import delete_topics, ensure_topics
from chassis.lifecycle import Health, consumer_probe, postgres_probe, wait_for_topics
from chassis.postgres import open_pool
from chassis.settings import HttpSettings, PostgresSettings, Settings
from chassis.telemetry import new_registry
from tests.polling import eventually


async def ask(port: int, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.json()


@pytest.fixture
def health() -> Health:
    return Health("test", new_registry())


async def test_a_service_that_starts_is_alive_and_not_ready(health: Health) -> None:
    async with health.serve(HttpSettings()) as port:
        assert await ask(port, "/healthz") == (200, {"service": "test", "status": "ok"})
        status, body = await ask(port, "/readyz")
        assert (status, body["problems"]) == (503, {"started": "still starting"})
        health.started()
        assert await ask(port, "/readyz") == (200, {"service": "test", "status": "ready", "problems": {}})


async def test_every_part_is_named_with_its_problem(health: Health) -> None:
    async def broken() -> str | None:
        raise RuntimeError("a case the probe did not foresee")

    async def unwell() -> str | None:
        return "lost its hat"

    health.started()
    health.add("broken", broken)
    health.add("unwell", unwell)
    async with health.serve(HttpSettings()) as port:
        status, body = await ask(port, "/readyz")
    assert status == 503
    assert body["problems"] == {
        "broken": "RuntimeError: a case the probe did not foresee",
        "unwell": "lost its hat",
    }


async def test_the_port_is_written_for_whoever_waits_for_it(health: Health, tmp_path: Path) -> None:
    file = tmp_path / "port"
    async with health.serve(HttpSettings(port_file=file)) as port:
        assert file.read_text() == str(port)


async def test_a_port_that_is_taken_is_named(health: Health) -> None:
    async with health.serve(HttpSettings()) as port:
        taken = HttpSettings(port=port)
        with pytest.raises(ConfigError, match=rf"BACKOUT_HTTP__PORT: cannot listen on 127\.0\.0\.1:{port}"):
            async with Health("other", new_registry()).serve(taken):
                pass


async def test_metrics_are_prometheus_text(health: Health) -> None:
    Counter("backout_examples", "Examples seen.", registry=health.registry).inc(3)
    async with (
        health.serve(HttpSettings()) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as response,
    ):
        assert response.content_type == "text/plain"
        assert "backout_examples_total 3.0" in await response.text()


async def test_readiness_follows_postgres_down_and_up_again(health: Health, tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    server.start()
    try:
        settings = Settings(postgres=PostgresSettings.model_validate({"dsn": server.dsn()}))
        async with open_pool(settings, "test") as pool, health.serve(HttpSettings()) as port:
            health.started()
            health.add("postgres", postgres_probe(pool))
            assert (await ask(port, "/readyz"))[0] == 200
            server.stop()
            status, body = await ask(port, "/readyz")
            assert (status, list(body["problems"])) == (503, ["postgres"])
            assert (await ask(port, "/healthz"))[0] == 200
            server.start()

            async def ready() -> bool:
                return (await ask(port, "/readyz"))[0] == 200

            await eventually(ready, what="ready again")
    finally:
        server.stop()


@pytest.mark.usefixtures("topics")
async def test_a_consumer_is_ready_with_partitions_and_while_it_polls(kafka: Kafka) -> None:
    async with kafka.consumer(kafka.topic("commands"), group=kafka.group("test"), instance="1") as consumer:
        probe = consumer_probe(consumer, max_silence_s=30.0)

        async def ready() -> bool:
            await consumer.getmany(timeout_ms=20)
            return await probe() is None

        await eventually(ready, what="the consumer has its partition")
        consumer.last_poll = time.monotonic() - 31.0
        assert await probe() == "has not polled for 31 s"


async def test_who_waits_for_topics_says_which_and_how_to_make_them(kafka: Kafka, health: Health) -> None:
    health.started()
    waiting = asyncio.create_task(wait_for_topics(kafka, health, ("triggers", "commands")))
    missing = (
        f"there is no topic {kafka.topic('triggers')}, {kafka.topic('commands')}. Run `backout topics init`"
    )

    async def said() -> bool:
        return await health.problems() == {"topics": missing}

    await eventually(said, timeout_s=20, what="the missing topics are named")
    assert not waiting.done()
    await ensure_topics(kafka)
    await asyncio.wait_for(waiting, 20)
    assert await health.problems() == {}
    await delete_topics(kafka)
