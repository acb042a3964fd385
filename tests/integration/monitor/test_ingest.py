"""Foreign topics in a running monitor: what the SDK exports fires a trigger, and each record is
translated once, whoever dies in between."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest

from chassis.errors import Fenced
from chassis.failpoints import Failpoints
from chassis.kafka import TopicPartition
from chassis.settings import Settings
from services.monitor.adapters.origin_log import KafkaOriginLog
from services.monitor.domain.ingest.names import Names
from services.monitor.domain.ingest.otlp import OtlpTerms, OtlpTranslator
from services.monitor.domain.ingest.otlp_encodings import decode_protobuf
from services.monitor.handlers.origin import Translation
from tests.integration.monitor.foreign import Foreign, Translated, translated
from tests.integration.monitor.monitor_process import running_monitor
from tests.integration.monitor.stage import Stage, configure
from tests.integration.monitor.stage import sample as own_sample
from tests.polling import eventually
from tests.unit.monitor.ingest.requests import (
    CUMULATIVE,
    explicit,
    gauge,
    histogram,
    nano,
    number,
    request,
    total,
)
from tests.unit.monitor.ingest.sdk import Service

RULES = """\
triggers:
  - {name: slow, metric: response_time_p95_ms, when: "> 3000", staleness: 30s}
  - {name: deep, metric: queue_depth, when: "> 100", staleness: 30s}
"""
NAMES = """\
metrics: [{from: http.server.request.duration, to: "response_time_{stat}_ms", factor: 1000, merge: true}]
components: {shop/basket: basket}
"""
FEW_AT_ONCE = {"BACKOUT_MONITOR__INGEST__FETCH_MAX_RECORDS": "5"}


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service("checkout")
    yield made
    made.close()


@pytest.fixture
def configured(stage: Stage) -> Stage:
    configure(stage.directory, RULES)
    (stage.directory / "ingest.yml").write_text(NAMES)
    return stage


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
async def test_what_the_sdk_exports_fires_a_trigger(
    configured: Stage, settings: Settings, service: Service, encoding: str
) -> None:
    foreign = await Foreign.create(configured)
    duration = service.meter.create_histogram(
        "http.server.request.duration", unit="s", explicit_bucket_boundaries_advisory=[0.5, 1, 2, 4, 8]
    )
    for route, seconds in (("/a", 0.2), ("/b", 6.0)):
        for _ in range(50):
            duration.record(seconds, {"http.route": route})
    value = service.protobuf() if encoding == "protobuf" else service.json()
    variables = foreign.environment(BACKOUT_MONITOR__INGEST__OTLP__ENCODING=encoding)
    with running_monitor(settings, configured.directory, environment=variables) as monitor:
        await foreign.publish([value], partition=1)

        async def fired() -> bool:
            assert monitor.returncode is None, monitor.log
            return bool(await configured.told())

        await eventually(fired, what="the trigger fires")
        exposed = await monitor.metrics()
        assert await monitor.stop() == 0, monitor.log
    told = (await configured.told())[0].data
    assert (told.trigger, told.component, told.kind) == ("slow", "checkout", "fired")
    assert told.value is not None
    assert 4_000 < told.value <= 8_000
    samples = await translated(configured)
    assert {sample.origin for sample in samples} == {f"{foreign.topic}/1/0"}
    assert {sample.metric for sample in samples} == {
        f"response_time_{statistic}_ms" for statistic in ("p50", "p90", "p95", "p99", "count", "sum")
    }
    assert set(samples.values()) == {1}
    assert 'backout_monitor_ingest_samples_total{source="otlp"} 6.0' in exposed


async def test_prometheus_samples_fire_a_trigger(configured: Stage, settings: Settings) -> None:
    foreign = await Foreign.create(configured, "prometheus")
    record = {
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 5)),
        "value": "101.5",
        "name": "queue_depth",
        "labels": {"__name__": "queue_depth", "job": "shop/basket", "instance": "a:1"},
    }
    stale = {**record, "value": "NaN"}
    with running_monitor(settings, configured.directory, environment=foreign.environment()) as monitor:
        await foreign.publish([json.dumps(each).encode() for each in (stale, record)], partition=0)

        async def fired() -> bool:
            return bool(await configured.told())

        await eventually(fired, what="the trigger fires")
        assert await monitor.stop() == 0, monitor.log
    told = (await configured.told())[0].data
    assert (told.trigger, told.component, told.value) == ("deep", "basket", 101.5)
    (sample,) = await translated(configured)
    assert sample.origin == f"{foreign.topic}/0/1"
    assert sample.labels == (("instance", "a:1"),)
    assert await configured.dead_letters() == []


def _load(records: int, began: float) -> list[bytes]:
    """Exports of three services: a gauge, and a cumulative histogram that only grows."""
    made = []
    for index in range(records):
        at = began + index
        name = f"service_{index % 3}"
        grown = explicit([index, 2 * index, index // 2], [1.0, 5.0], at=at, start=began - 60)
        made.append(
            request(
                gauge("depth", number(float(index), at=at)),
                histogram("latency", grown, temporality=CUMULATIVE),
                service_name=name,
            )
        )
    return made


def _expected(foreign: Foreign, load: list[bytes], partitions: int) -> set[Translated]:
    """What one undisturbed reader makes of the load, record ``n`` being on partition n mod ``partitions``."""
    found = set()
    for partition in range(partitions):
        translator = OtlpTranslator(decode_protobuf, OtlpTerms(), Names())
        for offset, value in enumerate(load[partition::partitions]):
            for sample in translator.translate(value).samples:
                assert isinstance(sample.time, float)
                found.add(
                    Translated(
                        f"{foreign.topic}/{partition}/{offset}",
                        sample.component,
                        sample.metric,
                        sample.value,
                        sample.time,
                        (),
                    )
                )
    return found


async def _publish(foreign: Foreign, load: list[bytes], partitions: int) -> None:
    for partition in range(partitions):
        await foreign.publish(load[partition::partitions], partition)


async def test_kills_lose_nothing_and_double_nothing(configured: Stage, settings: Settings) -> None:
    foreign = await Foreign.create(configured)
    load = _load(100, time.time() - 300)
    await _publish(foreign, load, 2)
    for point in ("before-transaction=kill@2", "before-commit=kill@3", "after-commit=kill@2"):
        variables = foreign.environment(**FEW_AT_ONCE, BACKOUT_FAILPOINTS=f"ingest.{point}")
        with running_monitor(settings, configured.directory, environment=variables) as monitor:
            assert await monitor.ended() == -9, monitor.log
    variables = foreign.environment(**FEW_AT_ONCE)
    with running_monitor(settings, configured.directory, environment=variables) as monitor:
        await foreign.caught_up()
        assert await monitor.stop() == 0, monitor.log
    samples = await translated(configured)
    assert set(samples.values()) == {1}
    assert samples.keys() == _expected(foreign, load, 2)


async def test_a_frozen_owner_writes_nothing_after_its_successor(
    configured: Stage, settings: Settings
) -> None:
    """It stands still with an open transaction; another takes over; then it wakes and would commit."""
    foreign = await Foreign.create(configured)
    load = _load(60, time.time() - 300)
    variables = foreign.environment(**FEW_AT_ONCE)
    frozen = {**variables, "BACKOUT_FAILPOINTS": "ingest.before-commit=freeze@3"}
    with running_monitor(settings, configured.directory, instance="one", environment=frozen) as one:
        await one.ready()
        await _publish(foreign, load, 2)
        with running_monitor(settings, configured.directory, instance="two", environment=variables) as two:
            await foreign.caught_up()
            before = len(one.log)
            one.signal(signal.SIGCONT)

            async def begins_anew() -> bool:
                return "Fenced: another process has taken over" in one.log[before:]

            await eventually(begins_anew, what="it finds out that it has lost its partitions")
            assert await two.stop() == 0, two.log
            assert await one.stop() == 0, one.log
    samples = await translated(configured)
    assert set(samples.values()) == {1}
    assert samples.keys() == _expected(foreign, load, 2)


async def test_a_second_instance_comes_and_goes(configured: Stage, settings: Settings) -> None:
    foreign = await Foreign.create(configured)
    load = _load(180, time.time() - 300)
    variables = foreign.environment(**FEW_AT_ONCE)
    with running_monitor(settings, configured.directory, instance="one", environment=variables) as one:
        await _publish(foreign, load[:60], 2)
        with running_monitor(settings, configured.directory, instance="two", environment=variables) as two:
            await two.ready()
            await _publish(foreign, load[60:120], 2)
            await foreign.caught_up()
            assert await two.stop() == 0, two.log
        await _publish(foreign, load[120:], 2)
        await foreign.caught_up()
        assert await one.stop() == 0, one.log
    samples = await translated(configured)
    assert set(samples.values()) == {1}
    assert samples.keys() == _expected(foreign, load, 2)


async def test_a_young_series_that_lies_further_back_than_a_new_owner_looks_is_not_counted_again(
    configured: Stage, settings: Settings
) -> None:
    began = time.time() - 120
    (configured.directory / "ingest.yml").write_text("metrics: [{from: requests, merge: true}]")
    foreign = await Foreign.create(configured, partitions=1)

    def counted(value: float, at: float) -> bytes:
        return request(total("requests", number(value, at=at, start_time_unix_nano=nano(began))))

    others = [request(gauge("depth", number(1.0, at=began + 50)))] * (OtlpTranslator.look_back + 1)
    for values in (
        [counted(1_000, began + 10), *others],
        [counted(1_004, began + 60), counted(1_005, began + 70)],
    ):
        with running_monitor(settings, configured.directory, environment=foreign.environment()) as monitor:
            await foreign.publish(values, partition=0)
            await foreign.caught_up()
            exposed = await monitor.metrics()
            assert await monitor.stop() == 0, monitor.log
    found = [sample.value for sample in await translated(configured) if sample.metric == "requests"]
    assert sorted(found) == [1.0, 1_000.0]
    assert 'ingest_passed_over_total{reason="no_former_point",source="otlp"} 1.0' in exposed


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(
    configured: Stage, settings: Settings
) -> None:
    """The offset of the topic that was there before lies beyond the end of this one."""
    foreign = await Foreign.create(configured, partitions=1)
    former = await KafkaOriginLog.open(
        configured.kafka,
        TopicPartition(foreign.topic, 0),
        configured.kafka.group("ingest-otlp"),
        failpoints=Failpoints(),
        dead_letter_limit=10,
    )
    await former.write(Translation(50))
    await former.close()
    load = _load(3, time.time() - 60)
    await _publish(foreign, load, 1)
    with running_monitor(settings, configured.directory, environment=foreign.environment()) as monitor:

        async def is_read() -> bool:
            return await foreign.committed() == {0: 3}

        await eventually(is_read, what="the topic is read from its beginning")
        assert await monitor.stop() == 0, monitor.log
    assert "the topic was made anew" in monitor.log
    samples = await translated(configured)
    assert set(samples.values()) == {1}
    assert samples.keys() == _expected(foreign, load, 1)


async def test_a_topic_that_is_made_anew_under_its_reader_is_read_from_its_beginning(
    configured: Stage, settings: Settings
) -> None:
    """It happens while the reader stands still, so that it never sees the topic missing."""
    foreign = await Foreign.create(configured, partitions=1)
    await _publish(foreign, _load(20, time.time() - 300), 1)
    with running_monitor(settings, configured.directory, environment=foreign.environment()) as monitor:
        await foreign.caught_up()
        monitor.signal(signal.SIGSTOP)
        await foreign.make_anew()
        monitor.signal(signal.SIGCONT)
        load = _load(3, time.time() - 60)
        await _publish(foreign, load, 1)
        await foreign.caught_up()
        assert await monitor.stop() == 0, monitor.log
    samples = await translated(configured)
    assert samples.keys() >= _expected(foreign, load, 1)


@pytest.mark.usefixtures("unretrieved_futures_are_silent")
async def test_a_former_owner_can_write_nothing(stage: Stage) -> None:
    foreign = await Foreign.create(stage)
    place = TopicPartition(foreign.topic, 0)
    group = stage.kafka.group("ingest-otlp")

    async def open_log() -> KafkaOriginLog:
        return await KafkaOriginLog.open(
            stage.kafka, place, group, failpoints=Failpoints(), dead_letter_limit=10
        )

    former = await open_log()
    await former.write(Translation(3))
    owner = await open_log()
    with pytest.raises(Fenced):
        await former.write(Translation(5))
    await former.close()
    assert await foreign.committed() == {0: 3}
    await owner.write(Translation(4))
    await owner.close()
    assert await foreign.committed() == {0: 4}


async def test_unreadable_records_are_set_aside_with_their_place(
    configured: Stage, settings: Settings
) -> None:
    foreign = await Foreign.create(configured)
    now = time.time() - 5
    good = request(gauge("depth", number(1.0, at=now)))
    nameless = request(gauge("depth", number(2.0, at=now), number(3.0, at=now)), host_name="a")
    with running_monitor(settings, configured.directory, environment=foreign.environment()) as monitor:
        await foreign.publish([good, good[:-4], None, nameless, good], partition=0)
        await foreign.caught_up()
        assert await monitor.stop() == 0, monitor.log
    letters = await configured.dead_letters()
    assert [(place.offset, place.reason, place.item) for place, _ in letters] == [
        (1, "invalid_protobuf", None),
        (2, "empty", None),
        (3, "no_component", None),
    ]
    assert {(place.topic, place.partition, place.consumer) for place, _ in letters} == {
        (foreign.topic, 0, "monitor-ingest")
    }
    assert [value for _, value in letters] == [good[:-4], None, nameless]
    assert {sample.origin for sample in await translated(configured)} == {
        f"{foreign.topic}/0/0",
        f"{foreign.topic}/0/4",
    }


async def test_too_many_in_a_row_stop_the_source_before_they_are_drained_and_nothing_else(
    configured: Stage, settings: Settings
) -> None:
    """A source that fails again and again says so; triggers are evaluated all the same."""
    foreign = await Foreign.create(configured)
    await foreign.publish([b"\xff"] * 12, partition=0)
    variables = foreign.environment(BACKOUT_KAFKA__DEAD_LETTERS_IN_A_ROW="10")
    with running_monitor(settings, configured.directory, environment=variables) as monitor:

        async def failed_twice() -> bool:
            return monitor.log.count("10 unreadable records in a row") >= 2

        await eventually(failed_twice, what="the source fails and is begun anew")
        await configured.publish([("c", own_sample("queue_depth", "c", 500, time.time()))])

        async def fired() -> bool:
            return bool(await configured.told())

        await eventually(fired, what="the trigger fires")

        async def is_told() -> bool:
            problems = await monitor.problems()
            return list(problems) == ["ingest otlp"] and "10 unreadable" in problems["ingest otlp"]

        await eventually(is_told, what="/readyz names the source")
        exposed = await monitor.metrics()
        assert 'backout_monitor_ingest_up{source="otlp"} 0.0' in exposed
        assert "backout_monitor_up 1.0" in exposed
        assert "Traceback" not in monitor.log
        assert await monitor.stop() == 0, monitor.log
    assert await foreign.committed() == {}
    assert await configured.dead_letters() == []


async def test_a_source_goes_on_after_an_error_and_translates_each_record_once(
    configured: Stage, settings: Settings
) -> None:
    foreign = await Foreign.create(configured)
    load = _load(60, time.time() - 300)
    await _publish(foreign, load, 2)
    variables = foreign.environment(**FEW_AT_ONCE, BACKOUT_FAILPOINTS="ingest.before-commit=raise@3")
    with running_monitor(settings, configured.directory, environment=variables) as monitor:
        await foreign.caught_up()
        exposed = await monitor.metrics()
        assert await monitor.stop() == 0, monitor.log
    assert 'backout_monitor_ingest_failures_total{source="otlp"} 1.0' in exposed
    assert 'backout_monitor_ingest_up{source="otlp"} 1.0' in exposed
    assert "FailpointReached" in monitor.log
    samples = await translated(configured)
    assert set(samples.values()) == {1}
    assert samples.keys() == _expected(foreign, load, 2)


async def test_a_topic_that_is_missing_or_our_own_is_named(configured: Stage, settings: Settings) -> None:
    for topic, words in (
        ("no.such.topic", "there is no topic"),
        (configured.kafka.topic("metrics"), "is a topic"),
    ):
        variables = {
            "BACKOUT_MONITOR__INGEST__OTLP__ENABLED": "true",
            "BACKOUT_MONITOR__INGEST__OTLP__TOPIC": topic,
        }
        with running_monitor(settings, configured.directory, environment=variables) as monitor:
            assert await monitor.ended() == 2
            assert "BACKOUT_MONITOR__INGEST__OTLP__TOPIC: " in monitor.log
            assert "never awaited" not in monitor.log
            assert words in monitor.log
