"""Notable events, told twice: on stderr to those who run the service, on Kafka to those who watch it."""

import json
import logging
import sys
from typing import Any

from examples.docrag.publish import Publisher

log = logging.getLogger(__name__)

_LEVELS = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
}
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class EventLog:
    """Writes an event to both places."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def emit(self, component: str, severity: str, body: str, **attributes: Any) -> None:
        """Tell an event: a constant message with fields."""
        log.log(_LEVELS[severity], body, extra={"component": component, **attributes})
        self._publisher.record(component, severity, body, attributes)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's time, severity, message, and every field given as `extra`."""
        fields = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        line = {"time": record.created, "severity": record.levelname, "body": record.getMessage(), **fields}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to_stderr() -> None:
    """Send the process's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # The client's own lines repeat at every retry what the publisher says once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
