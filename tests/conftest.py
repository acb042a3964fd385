"""The real servers for every test that needs them: one Kafka and one Postgres a session.

A test is isolated by a database of its own and by a namespace, which every topic, group and
transactional id takes in front. Where a server cannot start, the tests that need it fail.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from chassis.embedded.kafka import EmbeddedKafka
from chassis.embedded.postgres import EmbeddedPostgres
from chassis.kafka import Kafka
from chassis.kafka_admin import delete_topics, ensure_topics
from chassis.settings import KafkaSettings, PostgresSettings, Settings

# Kafka's jars are fetched once for all copies on the machine.
CACHE_DIR = Path(os.environ.get("BACKOUT_CACHE_DIR", "~/.cache/backout"))


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> None:
    """Left to itself, structlog draws every exception that is logged with all its local variables, which
    takes longer than most tests do."""
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.stdlib.add_log_level, renderer])


@pytest.fixture(scope="session")
def embedded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """The session's broker."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka"), cache_dir=CACHE_DIR) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def embedded_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The session's Postgres server."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False) as postgres:
        yield postgres


@pytest.fixture(scope="session")
def kafka_bootstrap(embedded_kafka: EmbeddedKafka) -> str:
    """``host:port`` of the session's broker."""
    return embedded_kafka.bootstrap_servers


@pytest.fixture(scope="session")
def postgres_dsn(embedded_postgres: EmbeddedPostgres) -> str:
    """The session's server as its superuser, on the database ``postgres``."""
    return embedded_postgres.dsn()


@pytest.fixture
def database(embedded_postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of an empty database that is dropped after the test."""
    name = f"test_{secrets.token_hex(6)}"
    yield embedded_postgres.create_database(name)
    embedded_postgres.drop_database(name)


@pytest.fixture
def namespace() -> str:
    """A prefix that nobody else uses."""
    return f"t{secrets.token_hex(5)}."


@pytest.fixture
def settings(
    kafka_bootstrap: str, database: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Settings for this test's namespace and database; nothing comes from the environment or a file."""
    monkeypatch.setenv("BACKOUT_SETTINGS_FILE", os.devnull)
    return Settings(
        state_dir=tmp_path / "state",
        kafka=KafkaSettings(bootstrap_servers=kafka_bootstrap, namespace=namespace, session_timeout_ms=3_000),
        postgres=PostgresSettings.model_validate({"dsn": database}),
    )


@pytest.fixture
async def kafka(settings: Settings) -> Kafka:
    """A maker of clients for this test's namespace."""
    return Kafka.of(settings, "test")


@pytest.fixture
async def topics(kafka: Kafka) -> AsyncIterator[None]:
    """Every topic of backout in this test's namespace, deleted after the test."""
    await ensure_topics(kafka)
    yield
    await delete_topics(kafka)
