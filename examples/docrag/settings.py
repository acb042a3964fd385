"""Settings of the service: command-line options, each also an environment variable `DOCRAG_<OPTION>`."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backout_client import WhenStale

FAILPOINTS = ("before_ledger_commit", "after_ledger_commit", "after_file_write")
"""Where DOCRAG_FAILPOINT can have a change killed, for tests of what a crash leaves."""


class BadSetting(ValueError):
    """A setting is missing or malformed. The message names the option and the variable."""


@dataclass(frozen=True)
class Topics:
    """Where samples and log records go."""

    metrics: str
    logs: str


@dataclass(frozen=True)
class Settings:
    """What the service needs to know. `kafka` None: measure, but publish nothing. `breakers_topic` None:
    ask no circuit breaker."""

    host: str
    port: int
    state_dir: Path
    dsn: str
    kafka: str | None
    topics: Topics
    failpoint: str | None = None
    breakers_topic: str | None = None
    breaker_when_stale: WhenStale = "closed"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `serve`. Defaults are applied later, after the environment."""
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", help="port to listen on; 0 takes a free one (default 8090)")
    parser.add_argument("--state-dir", help="directory of the configuration files (default .docrag)")
    parser.add_argument("--dsn", help="postgresql://… of the database of its own (required)")
    parser.add_argument("--kafka", help="HOST:PORT[,HOST:PORT…] to publish to (default: publish nothing)")
    parser.add_argument("--metrics-topic", help="topic for samples (default backout.metrics.v1)")
    parser.add_argument("--logs-topic", help="topic for log records (default backout.logs.v1)")
    parser.add_argument("--breakers-topic", help="topic of circuit breakers to obey (default: obey none)")
    parser.add_argument(
        "--breaker-when-stale", help="what a breaker counts as without news: open or closed (default closed)"
    )


def read(options: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """Settings from options, then the environment, then defaults. Raises BadSetting."""

    def value(name: str, default: str = "") -> str:
        given = options.get(name)
        return str(given) if given is not None else environment.get(f"DOCRAG_{name.upper()}", default)

    dsn = value("dsn")
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise BadSetting("--dsn or DOCRAG_DSN must be a postgresql:// address")
    failpoint = environment.get("DOCRAG_FAILPOINT") or None
    if failpoint is not None and failpoint not in FAILPOINTS:
        raise BadSetting(f"DOCRAG_FAILPOINT must be one of {', '.join(FAILPOINTS)}")
    return Settings(
        host=value("host", "127.0.0.1"),
        port=_port(value("port", "8090")),
        state_dir=Path(value("state_dir", ".docrag")),
        dsn=dsn,
        kafka=value("kafka") or None,
        topics=Topics(
            metrics=value("metrics_topic", "backout.metrics.v1"), logs=value("logs_topic", "backout.logs.v1")
        ),
        failpoint=failpoint,
        breakers_topic=_breakers_topic(value("breakers_topic"), value("kafka")),
        breaker_when_stale=_when_stale(value("breaker_when_stale", "closed")),
    )


def _breakers_topic(topic: str, kafka: str) -> str | None:
    if topic and not kafka:
        raise BadSetting("--breakers-topic or DOCRAG_BREAKERS_TOPIC needs --kafka or DOCRAG_KAFKA")
    return topic or None


def _when_stale(text: str) -> WhenStale:
    if text == "open":
        return "open"
    if text == "closed":
        return "closed"
    raise BadSetting(f"--breaker-when-stale or DOCRAG_BREAKER_WHEN_STALE is open or closed, not {text!r}")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise BadSetting(f"--port or DOCRAG_PORT must be a number from 0 to 65535, not {text!r}")
    return int(text)
