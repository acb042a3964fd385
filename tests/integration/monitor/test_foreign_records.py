"""Records as other producers send them: compressed, of 5 MB, with headers of their own, tombstones."""

from __future__ import annotations

import time

from aiokafka import AIOKafkaProducer

from chassis.dead_letters import MAX_VALUE_BYTES
from chassis.kafka_admin import ensure_own_topic
from chassis.settings import Settings
from tests.integration.monitor.foreign import Foreign, translated
from tests.integration.monitor.monitor_process import running_monitor
from tests.integration.monitor.stage import Stage, configure
from tests.unit.monitor.ingest.requests import attributes, gauge, number, request

RULES = "triggers: [{name: deep, metric: depth, when: '> 100'}]\n"
LIMIT = 6_000_000


async def test_compressed_records_of_five_megabytes_among_others(stage: Stage, settings: Settings) -> None:
    """Each is translated once, also by a second process; what is unreadable keeps its beginning."""
    configure(stage.directory, RULES)
    at = time.time() - 5
    points = [number(float(n), at=at, attributes=attributes(path=f"/{n}" + "x" * 500)) for n in range(10_000)]
    large, small = request(gauge("depth", *points)), request(gauge("depth", number(-1.0, at=at)))
    assert len(large) > 5_000_000
    foreign = Foreign(stage.kafka, stage.producer, "otlp", stage.kafka.group("large"))
    config = {"max.message.bytes": str(LIMIT), "compression.type": "zstd"}
    await ensure_own_topic(stage.kafka, foreign.topic, partitions=1, config=config)
    headers = [("traceparent", b"no context"), ("h", b"\xff"), ("h", b"")]
    sent = [small, None, large, b"\xff" + large, b"", small]
    async with AIOKafkaProducer(
        bootstrap_servers=stage.kafka.bootstrap_servers, max_request_size=LIMIT, compression_type="gzip"
    ) as producer:
        for value in sent:
            await producer.send_and_wait(foreign.topic, value, key=b"k", partition=0, headers=headers)
    foreign.ends[0] = len(sent)
    for _ in range(2):
        with running_monitor(settings, stage.directory, environment=foreign.environment()) as monitor:
            await monitor.ready()
            await foreign.caught_up()
            assert await monitor.stop() == 0, monitor.log
    samples = await translated(stage)
    assert set(samples.values()) == {1}
    values = sorted((each.origin.rpartition("/")[2], each.value) for each in samples)
    assert values == [("0", -1.0), *(("2", float(n)) for n in range(10_000)), ("5", -1.0)]
    letters = [(place.offset, place.reason, place.value_bytes) for place, _ in await stage.dead_letters()]
    assert letters == [(1, "empty", None), (3, "invalid_protobuf", len(large) + 1)]
    assert [len(value or b"") for _, value in await stage.dead_letters()] == [0, MAX_VALUE_BYTES]
