"""Logs and metrics of the control plane itself.

A log line is a constant message with fields: for people on a terminal, as JSON elsewhere.
Metrics live in a registry that each service makes for itself; ``/metrics`` shows it.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from chassis.settings import Settings


class OnceInAWhile(logging.Filter):
    """Lets a library say the same thing (one message, whatever its arguments) once in ``pause_s``.

    aiokafka tells of every attempt to reach a lost broker, which is hundreds a second: nobody could
    read what else a service says meanwhile. The next one says how many were left out.
    """

    def __init__(self, pause_s: float = 10.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._pause_s = pause_s
        self._monotonic = monotonic
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key, now = (record.name, str(record.msg)), self._monotonic()
        at, left_out = self._said.get(key, (-self._pause_s, 0))
        if now - at < self._pause_s:
            self._said[key] = (at, left_out + 1)
            return False
        self._said[key] = (now, 0)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more like it were left out)", ()
        return True


def logs_are_json(settings: Settings) -> bool:
    """Whether a program reads the logs: as the settings say, or because stderr is no terminal."""
    return settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())


def configure_logging(settings: Settings, service: str) -> None:
    """Set up structlog and the standard library's loggers for one process, on stderr."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _of_process(service, settings.instance),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if logs_are_json(settings)
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty() and "NO_COLOR" not in os.environ)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    once = OnceInAWhile()
    handler.addFilter(lambda record: once.filter(record) if record.name.startswith("aiokafka") else True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("aiokafka", "faust", "mode", "slack_sdk", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(True)


def _of_process(service: str, instance: str) -> structlog.typing.Processor:
    """Says on each line whose it is; a context would not reach the threads of libraries."""

    def add(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.setdefault("service", service)
        event.setdefault("instance", instance)
        return event

    return add


def new_registry() -> CollectorRegistry:
    """A registry with the process's own figures. When each counter was made is not shown: it would double
    the series of a scrape, and nobody reads it in Prometheus' text format."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry
