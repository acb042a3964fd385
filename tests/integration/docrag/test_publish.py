"""Samples and logs as they arrive on a real Kafka, read with the contracts that their consumers use."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from chassis.embedded.ports import free_ports
from chassis.kafka import Consumer, Kafka
from examples.docrag import corpus
from schemas.logs import LogRecord
from schemas.metrics import Sample, read_record
from tests.integration.docrag.service import COMPONENT, Service

KNOWN = corpus.build()
PATIENCE_S = 30.0


def _options(kafka: Kafka, bootstrap: str) -> dict[str, str]:
    return {"kafka": bootstrap, "metrics_topic": kafka.topic("metrics"), "logs_topic": kafka.topic("logs")}


async def _samples(consumer: Consumer, wanted: Iterable[str]) -> dict[str, Sample]:
    """The newest sample of each metric, read until all those wanted were seen."""
    found: dict[str, Sample] = {}
    missing, deadline = set(wanted), time.monotonic() + PATIENCE_S
    while missing:
        assert time.monotonic() < deadline, f"no samples of {missing}"
        for messages in (await consumer.getmany(timeout_ms=200)).values():
            for message in messages:
                record = read_record(message.value)
                assert record.unread == ()
                for sample in record.samples:
                    assert message.key == sample.component.encode()
                    found[f"{sample.component}/{sample.metric}"] = sample
        missing -= found.keys()
    return found


@pytest.mark.usefixtures("topics")
async def test_samples_follow_the_contract_and_the_load(
    stopped: Service, kafka: Kafka, kafka_bootstrap: str
) -> None:
    await stopped.start(**_options(kafka, kafka_bootstrap))
    await stopped.put(COMPONENT, {"mode": "enhanced"})
    await stopped.put("/chaos", {"enhanced_delay_s": 0.5, "fail_files_matching": "table"})
    for known in KNOWN[:4]:
        await stopped.upload(known.name, known.content)
    await stopped.get("/query", q="pump")
    extraction = [
        *("response_time_p95_ms", "error_rate", "accuracy_score", "extraction_seconds_per_page"),
        *("throughput_req_per_sec", "requests_total", "errors_total", "memory_mb"),
    ]
    queries = ["query_response_time_p95_ms", "query_error_rate", "throughput_req_per_sec"]
    wanted = [f"pdf_extraction/{name}" for name in extraction] + [f"query_api/{name}" for name in queries]
    async with kafka.consumer(kafka.topic("metrics")) as consumer:
        samples = {name: sample.value for name, sample in (await _samples(consumer, wanted)).items()}
    assert samples["pdf_extraction/response_time_p95_ms"] >= 500
    assert samples["pdf_extraction/error_rate"] > 0.05
    assert samples["pdf_extraction/accuracy_score"] < 0.90
    assert samples["pdf_extraction/requests_total"] == 4
    assert samples["pdf_extraction/errors_total"] == 1
    assert samples["query_api/query_error_rate"] == 0
    assert "query_api/response_time_p95_ms" not in samples


async def _times(consumer: Consumer, count: int) -> dict[str, list[float]]:
    """The times of each component's batches, s, read until each component has ``count`` of them."""
    found: dict[str, list[float]] = {"pdf_extraction": [], "query_api": []}
    deadline = time.monotonic() + PATIENCE_S
    while min(map(len, found.values())) < count:
        assert time.monotonic() < deadline, found
        for messages in (await consumer.getmany(timeout_ms=200)).values():
            for message in messages:
                [batch_time] = {sample.time for sample in read_record(message.value).samples}
                found[str(message.key, "ascii")].append(batch_time)
    return {component: times[:count] for component, times in found.items()}


@pytest.mark.usefixtures("topics")
async def test_samples_come_every_second_also_while_extraction_is_slow(
    stopped: Service, kafka: Kafka, kafka_bootstrap: str
) -> None:
    await stopped.start(**_options(kafka, kafka_bootstrap))
    await stopped.put(COMPONENT, {"mode": "enhanced"})
    await stopped.put("/chaos", {"enhanced_delay_s": 2.0})
    async with kafka.consumer(kafka.topic("metrics")) as consumer, asyncio.TaskGroup() as uploads:
        for known in KNOWN[:3]:
            uploads.create_task(stopped.upload(known.name, known.content))
        published = await _times(consumer, 7)
    for component, times in published.items():
        intervals = [later - earlier for earlier, later in itertools.pairwise(times)]
        # A busy machine delays one or the other; the rate keeps to the second.
        assert sum(intervals) / len(intervals) == pytest.approx(1.0, abs=0.1), (component, intervals)
        assert max(intervals) < 1.9, (component, intervals)


@pytest.mark.usefixtures("topics")
async def test_notable_events_are_logged(stopped: Service, kafka: Kafka, kafka_bootstrap: str) -> None:
    await stopped.start(**_options(kafka, kafka_bootstrap))
    async with kafka.consumer(kafka.topic("metrics")) as consumer:
        await _times(consumer, 1)  # it is connected: one that stops before that has nobody to tell
    await stopped.put(COMPONENT, {"mode": "enhanced"}, key="x/1", epoch=1)
    await stopped.put("/chaos", {"fail_files_matching": "table"})
    await stopped.upload("table.pdf", KNOWN[2].content)
    await stopped.stop()
    records: list[LogRecord] = []
    deadline = time.monotonic() + PATIENCE_S
    async with kafka.consumer(kafka.topic("logs")) as consumer:
        while not any(record.body == "upload failed" for record in records):
            assert time.monotonic() < deadline, records
            for messages in (await consumer.getmany(timeout_ms=200)).values():
                records += [LogRecord.model_validate_json(message.value or b"") for message in messages]
    by_body = {record.body: record for record in records}
    assert {record.component for record in records} == {"pdf_extraction"}
    assert by_body["component changed"].attributes["key"] == "x/1"
    assert by_body["faults injected"].severity == "WARN"
    assert by_body["upload failed"].severity == "ERROR"
    assert "table.pdf" in by_body["upload failed"].attributes["error"]


@asynccontextmanager
async def _relay(port: int, target: str) -> AsyncIterator[None]:
    """Carry connections on a port to a broker, as if the broker had come up there."""
    host, target_port = target.rsplit(":", 1)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
        sink.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(target_port))
        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    relay = await asyncio.start_server(carry, "127.0.0.1", port)
    try:
        yield
    finally:
        relay.close()


@pytest.mark.usefixtures("topics")
async def test_it_serves_without_kafka_and_publishes_once_kafka_is_there(
    stopped: Service, kafka: Kafka, kafka_bootstrap: str
) -> None:
    (port,) = free_ports(1)
    await stopped.start(**_options(kafka, f"127.0.0.1:{port}"))
    ready = await stopped.get("/readyz")
    assert (ready.status, ready.body["kafka"]["connected"]) == (200, False)
    assert (await stopped.upload("a.pdf", KNOWN[0].content)).status == 201
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_relay(port, kafka_bootstrap))
        consumer = await stack.enter_async_context(kafka.consumer(kafka.topic("metrics")))
        samples = await _samples(consumer, ["pdf_extraction/response_time_p95_ms"])
        assert samples["pdf_extraction/requests_total"].value == 1
        assert (await stopped.get("/readyz")).body["kafka"] == {"connected": True, "dropped": 0}
        await stopped.stop()


async def test_without_kafka_it_stops_at_once(stopped: Service) -> None:
    await stopped.start(kafka=f"127.0.0.1:{free_ports(1)[0]}")
    started = time.monotonic()
    await stopped.stop()
    assert time.monotonic() - started < 5
