"""What OpenTelemetry's own SDK exports, in both encodings, becomes the samples that it stands for."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator

import pytest

from schemas.metrics import Sample
from services.monitor.domain.ingest.names import Names, Renaming
from services.monitor.domain.ingest.otlp import OtlpTerms, OtlpTranslator
from services.monitor.domain.ingest.otlp_encodings import decode_json, decode_protobuf
from tests.unit.monitor.ingest.sdk import CUMULATIVE, DELTA, Service

ENCODINGS = {"protobuf": (decode_protobuf, Service.protobuf), "json": (decode_json, Service.json)}


@pytest.fixture(params=ENCODINGS)
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def services() -> Iterator[list[Service]]:
    made: list[Service] = []
    yield made
    for service in made:
        service.close()


def _translator(encoding: str, names: Names | None = None) -> OtlpTranslator:
    return OtlpTranslator(ENCODINGS[encoding][0], OtlpTerms(), names or Names())


def _read(translator: OtlpTranslator, encoding: str, service: Service) -> dict[str, list[Sample]]:
    translated = translator.translate(ENCODINGS[encoding][1](service))
    assert translated.unread == ()
    found: dict[str, list[Sample]] = {}
    for sample in translated.samples:
        assert sample.component == "checkout"
        found.setdefault(sample.metric, []).append(sample)
    return found


def test_a_gauge_and_its_labels(encoding: str, services: list[Service]) -> None:
    service = Service(attributes={"service.version": "1.4.2", "host.name": "a"})
    services.append(service)
    service.meter.create_gauge("queue.depth").set(17, {"queue": "in", "shard": 3, "hot": True})
    (sample,) = _read(_translator(encoding), encoding, service)["queue.depth"]
    assert sample.value == 17.0
    assert sample.labels == {"service.version": "1.4.2", "queue": "in", "shard": "3", "hot": "true"}
    assert isinstance(sample.time, float)
    assert sample.time > 1_700_000_000


def test_a_delta_sum_is_what_came_in(encoding: str, services: list[Service]) -> None:
    service = Service(temporality=DELTA)
    services.append(service)
    translator = _translator(encoding)
    counter = service.meter.create_counter("requests")
    seen = []
    for added in (3, 4):
        counter.add(added)
        seen += [sample.value for sample in _read(translator, encoding, service)["requests"]]
    assert seen == [3.0, 4.0]


def test_a_cumulative_sum_is_the_counter_as_it_stands(encoding: str, services: list[Service]) -> None:
    translator = _translator(encoding)
    seen = []
    for _ in range(2):
        service = Service(temporality=CUMULATIVE)
        services.append(service)
        counter = service.meter.create_counter("requests")
        for added in (3, 4):
            counter.add(added)
            seen += [sample.value for sample in _read(translator, encoding, service)["requests"]]
    assert seen == [3.0, 7.0, 3.0, 7.0], "the restart is seen as a fall"


@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE])
def test_an_exponential_histograms_quantiles_are_near_the_true_ones(
    encoding: str, services: list[Service], temporality: object
) -> None:
    service = Service(temporality=temporality, exponential=True)  # type: ignore[arg-type]
    services.append(service)
    names = Names({"request.duration": Renaming("response_time_{stat}_ms", 1000.0)})
    translator = _translator(encoding, names)
    instrument = service.meter.create_histogram("request.duration", unit="s")
    drawn = random.Random(7)  # noqa: S311
    count, total = 0, 0.0
    for median in (0.1, 2.0):
        values = [drawn.lognormvariate(0.0, 0.4) * median for _ in range(5_000)]
        for value in values:
            instrument.record(value)
        found = _read(translator, encoding, service)
        exact = statistics.quantiles(values, n=100, method="inclusive")
        for percent in (50, 90, 95, 99):
            (sample,) = found[f"response_time_p{percent}_ms"]
            assert sample.value == pytest.approx(exact[percent - 1] * 1000, rel=0.025)
        count = len(values) + (count if temporality is CUMULATIVE else 0)
        total = sum(values) + (total if temporality is CUMULATIVE else 0.0)
        assert [sample.value for sample in found["response_time_count_ms"]] == [count]
        assert found["response_time_sum_ms"][0].value == pytest.approx(total * 1000)


def test_a_cumulative_histogram_tells_of_now_not_of_its_whole_life(
    encoding: str, services: list[Service]
) -> None:
    service = Service(temporality=CUMULATIVE)
    services.append(service)
    translator = _translator(encoding)
    instrument = service.meter.create_histogram(
        "latency", explicit_bucket_boundaries_advisory=[0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    )
    for _ in range(10_000):
        instrument.record(0.15)
    (before,) = _read(translator, encoding, service)["latency_p95"]
    for _ in range(10):
        instrument.record(3.0)
    found = _read(translator, encoding, service)
    assert 0.1 < before.value <= 0.2
    assert 1.6 < found["latency_p95"][0].value <= 3.2
    assert found["latency_count"][0].value == 10_010


def test_merged_points_are_one_distribution_of_the_component(encoding: str, services: list[Service]) -> None:
    service = Service(temporality=DELTA)
    services.append(service)
    names = Names({"latency": Renaming(merge=True), "requests": Renaming(merge=True)})
    instrument = service.meter.create_histogram("latency", explicit_bucket_boundaries_advisory=[1, 2, 3, 4])
    counter = service.meter.create_counter("requests")
    for route, value, times in (("/a", 0.5, 90), ("/b", 3.5, 10)):
        counter.add(times, {"route": route})
        for _ in range(times):
            instrument.record(value, {"route": route})
    found = _read(_translator(encoding, names), encoding, service)
    (p50,), (p95,), (count,) = (found[f"latency_{statistic}"] for statistic in ("p50", "p95", "count"))
    assert p50.value < 1.0
    assert 3.0 < p95.value <= 4.0
    assert (count.value, count.labels) == (100.0, None)
    assert [sample.value for sample in found["requests"]] == [100.0]


def test_five_megabytes(encoding: str, services: list[Service]) -> None:
    service = Service(temporality=DELTA)
    services.append(service)
    # The SDK keeps no more than 2,000 attribute sets of an instrument apart.
    for number in range(8):
        gauge = service.meter.create_gauge(f"wide.{number}")
        for shard in range(1_500):
            gauge.set(shard, {"shard": str(shard), "path": "x" * 400})
    value = ENCODINGS[encoding][1](service)
    assert len(value) > 5_000_000
    translated = _translator(encoding).translate(value)
    assert translated.unread == ()
    assert len(translated.samples) == 12_000
    assert sum(sample.value for sample in translated.samples) == 8 * sum(range(1_500))
