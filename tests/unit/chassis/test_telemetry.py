"""Logs are a constant message with fields: JSON where a program reads them, on stderr alone."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import Any

from prometheus_client import Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chassis.telemetry import OnceInAWhile, new_registry

PROGRAM = """
import logging
import threading
import warnings
import structlog
from chassis.settings import Settings
from chassis.telemetry import configure_logging

configure_logging(Settings(instance="one", log_level={level!r}), "executor")
log = structlog.get_logger("services.executor")
log.debug("too fine")
log.info("step done", step="disable", seconds=0.4)
logging.getLogger("aiokafka").info("chatter")
logging.getLogger("somebody.else").warning("theirs")
threading.Thread(target=lambda: log.warning("of a thread")).start()
warnings.warn("overflow\\nin a sum", RuntimeWarning)
try:
    raise ValueError("broken")
except ValueError:
    log.exception("unexpected")
"""


def lines(level: str = "info") -> list[dict[str, Any]]:
    """What a process logs, whose stderr is no terminal."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(level=level)],
        env={"BACKOUT_SETTINGS_FILE": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout == ""
    return [json.loads(line) for line in result.stderr.splitlines()]


def test_lines_are_json_with_service_and_instance() -> None:
    done, theirs, of_a_thread, warned, unexpected = lines()
    assert done["event"] == "step done"
    assert (done["step"], done["seconds"], done["level"]) == ("disable", 0.4, "info")
    assert {(line["service"], line["instance"]) for line in lines()} == {("executor", "one")}
    assert done["timestamp"].endswith("Z")
    assert theirs["event"] == "theirs"
    assert of_a_thread["event"] == "of a thread"
    assert "RuntimeWarning: overflow\nin a sum" in warned["event"]
    assert "ValueError: broken" in unexpected["exception"]


def test_the_level_is_a_setting() -> None:
    assert [line["event"] for line in lines("error")] == ["unexpected"]
    assert lines("debug")[0]["event"] == "too fine"


def test_each_service_has_a_registry_of_its_own() -> None:
    first, second = new_registry(), new_registry()
    assert first is not second
    assert b"process_resident_memory_bytes" in generate_latest(first)


def record(message: str, *arguments: object, name: str = "aiokafka") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, message, arguments, None)


def test_the_same_message_is_said_once_in_a_while_with_how_many_were_left_out() -> None:
    now = 0.0
    once = OnceInAWhile(pause_s=10.0, monotonic=lambda: now)
    assert once.filter(record("no answer from %s", 1))
    for attempt in range(300):
        now = attempt / 100
        assert not once.filter(record("no answer from %s", attempt))
    assert once.filter(record("something else"))
    assert once.filter(record("no answer from %s", 1, name="aiokafka.other"))
    now = 10.0
    again = record("no answer from %s", 2)
    assert once.filter(again)
    assert again.getMessage() == "no answer from 2 (300 more like it were left out)"
    now = 20.0
    alone = record("no answer from %s", 3)
    assert once.filter(alone)
    assert alone.getMessage() == "no answer from 3"


def test_a_scrape_shows_no_series_of_when_a_counter_was_made() -> None:
    """Prometheus does nothing with them in this format, and they are as many as the counters."""
    registry = new_registry()
    Counter("backout_things", "Things", ["kind"], registry=registry).labels("a").inc()
    shown = generate_latest(registry).decode()
    assert 'backout_things_total{kind="a"} 1.0' in shown
    assert "_created" not in shown
    names = {family.name for family in text_string_to_metric_families(shown)}
    assert {"backout_things", "process_cpu_seconds"} <= names
