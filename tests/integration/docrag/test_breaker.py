"""The sample system obeys a circuit breaker: what is on the topic decides which way an upload takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chassis.kafka import Kafka, Producer
from examples.docrag import corpus
from schemas.logs import LogRecord
from schemas.metrics import read_record
from tests.integration.docrag.service import COMPONENT, Answer, Service
from tests.polling import eventually

KNOWN = corpus.build()
EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples" / "breakers"


class Monitor:
    """Writes to the topic what a monitor would, in the contract's own examples."""

    def __init__(self, kafka: Kafka, producer: Producer) -> None:
        self._topic = kafka.topic("breakers")
        self._producer = producer

    async def decides(self, name: str, **data: Any) -> None:
        await self._write("pdf_extraction", name, data)

    async def is_alive(self) -> None:
        await self._write("alive/2", "alive", {"through": datetime.now(UTC).isoformat()})

    async def _write(self, key: str, name: str, data: dict[str, Any]) -> None:
        event = json.loads((EXAMPLES / f"{name}.json").read_text())
        event["data"].update(data)
        await self._producer.send(self._topic, json.dumps(event).encode(), key=key.encode())


def _options(kafka: Kafka) -> dict[str, str]:
    return {
        "kafka": kafka.bootstrap_servers,
        "metrics_topic": kafka.topic("metrics"),
        "logs_topic": kafka.topic("logs"),
        "breakers_topic": kafka.topic("breakers"),
    }


async def _upload_until(service: Service, as_wanted: Callable[[Answer], bool]) -> Answer:
    answers: list[Answer] = []

    async def is_so() -> bool:
        answers.append(await service.upload(KNOWN[0].name, KNOWN[0].content))
        return as_wanted(answers[-1])

    await eventually(is_so, what="an upload takes the wanted way")
    return answers[-1]


@pytest.mark.usefixtures("topics")
async def test_uploads_take_the_fallback_while_the_breaker_is_open(stopped: Service, kafka: Kafka) -> None:
    async with kafka.producer() as producer:
        monitor = Monitor(kafka, producer)
        await monitor.decides("open")
        await monitor.is_alive()
        await stopped.start(**_options(kafka))
        await stopped.put(COMPONENT, {"mode": "enhanced"})
        await stopped.put("/chaos", {"fail_files_matching": "pdf"})
        taken = await _upload_until(stopped, lambda answer: "breaker" in (answer.body or {}))
        assert (taken.status, taken.body["library"]) == (201, "pypdfium2")
        assert taken.body["breaker"]["fallback"] == "original_extractor"
        assert "response_time_p95_ms was 4210" in taken.body["breaker"]["why"]

        await monitor.decides("open", fallback="reject")
        rejected = await _upload_until(stopped, lambda answer: answer.status == 503)
        assert rejected.body["error"] == "breaker open"
        assert "response_time_p95_ms was 4210" in rejected.body["message"]

        await monitor.decides("closed")
        failed = await _upload_until(stopped, lambda answer: answer.status == 500)
        assert failed.body["error"] == "extraction failed"
    await _is_told(kafka)


async def _is_told(kafka: Kafka) -> None:
    """The fallback is a metric of its own, and a change of the breaker's answer is in the log once."""
    totals: list[float] = []
    changes: list[tuple[str, str | None]] = []
    deadline = time.monotonic() + 15
    async with kafka.consumer(kafka.topic("metrics"), kafka.topic("logs")) as consumer:
        while not totals or len(changes) < 3:
            assert time.monotonic() < deadline, (totals, changes)
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    if place.topic == kafka.topic("logs"):
                        entry = LogRecord.model_validate_json(record.value or b"")
                        if entry.body == "breaker changed":
                            changes.append((str(entry.attributes["state"]), entry.attributes["fallback"]))
                        continue
                    samples = read_record(record.value).samples
                    totals += [one.value for one in samples if one.metric == "fallbacks_total"]
    assert totals[-1] >= 1
    assert changes[-3:] == [("open", "original_extractor"), ("open", "reject"), ("closed", None)]


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize(("when_stale", "library"), [("closed", "pypdf"), ("open", "pypdfium2")])
async def test_without_a_monitor_the_configured_way_is_taken(
    stopped: Service, kafka: Kafka, when_stale: str, library: str
) -> None:
    await stopped.start(**_options(kafka), breaker_when_stale=when_stale)
    await stopped.put(COMPONENT, {"mode": "enhanced"})
    uploaded = await stopped.upload(KNOWN[0].name, KNOWN[0].content)
    assert (uploaded.status, uploaded.body["library"]) == (201, library)
