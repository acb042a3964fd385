"""What becomes of the points of both histograms: their count, their sum, and quantiles that they bear out."""

from __future__ import annotations

import math

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint

from services.monitor.domain.ingest.names import Names, Renaming
from services.monitor.domain.ingest.otlp import OtlpTerms, OtlpTranslator
from services.monitor.domain.ingest.otlp_encodings import decode_protobuf
from services.monitor.domain.ingest.translation import Translated
from tests.unit.monitor.ingest.reading import translate, values
from tests.unit.monitor.ingest.requests import (
    CUMULATIVE,
    T0,
    explicit,
    exponential,
    gauge,
    histogram,
    nano,
    number,
    request,
)

NAN = math.nan


def test_a_histogram_without_bounds_has_a_count_and_a_sum() -> None:
    assert values(translate(request(histogram("h", explicit([4], [], sum=6.0))))) == {
        "h_count": 4.0,
        "h_sum": 6.0,
    }
    assert values(translate(request(histogram("h", explicit([], [], sum=6.0))))) == {
        "h_count": 0.0,
        "h_sum": 6.0,
    }


def test_an_empty_histogram_has_no_quantiles_and_a_missing_sum_is_not_zero() -> None:
    assert values(translate(request(histogram("h", explicit([0, 0], [1.0]))))) == {"h_count": 0.0}


def test_quantiles_within_buckets_and_at_their_open_ends() -> None:
    inner = values(translate(request(histogram("h", explicit([0, 100, 0], [10.0, 20.0])))))
    assert (inner["h_p50"], inner["h_p95"]) == (15.0, 19.5)
    lowest = values(translate(request(histogram("h", explicit([100, 0], [10.0])))))
    assert lowest["h_p50"] == 5.0
    beyond = values(translate(request(histogram("h", explicit([0, 0, 100], [10.0, 20.0])))))
    assert beyond["h_p99"] == 20.0, "the greatest value is not known: the last bound, as Prometheus has it"
    known = values(translate(request(histogram("h", explicit([0, 0, 100], [10.0, 20.0], max=40.0)))))
    assert known["h_p50"] == 30.0
    below_zero = values(translate(request(histogram("h", explicit([100, 0], [-10.0], min=-20.0)))))
    assert below_zero["h_p50"] == -15.0


def test_no_quantile_lies_beyond_the_least_and_the_greatest_value() -> None:
    """A bucket may be much wider than what was counted in it: the SDK's last ones are."""
    point = explicit([0, 100, 0], [1_000.0, 2_500.0], min=1_001.0, max=1_010.0)
    found = values(translate(request(histogram("h", point))))
    assert found["h_p50"] == pytest.approx(1_005.5)
    assert found["h_p99"] < 1_010.0
    contradicting = explicit([0, 100, 0], [10.0, 20.0], min=1_001.0, max=1_010.0)
    assert values(translate(request(histogram("h", contradicting))))["h_p50"] == 15.0


@pytest.mark.parametrize(
    ("counts", "bounds"), [([1, 1, 1], [1.0]), ([1, 1, 1], [2.0, 1.0]), ([1, 1], [NAN]), ([1, 1], [])]
)
def test_a_histogram_that_contradicts_itself_is_unreadable(counts: list[int], bounds: list[float]) -> None:
    found = translate(request(gauge("g", number(1.0)), histogram("h", explicit(counts, bounds))))
    assert [(unread.reason, unread.item) for unread in found.unread] == [("invalid_histogram", 1)]
    assert "h: " in found.unread[0].error
    assert values(found) == {"g": 1.0}


def _exponential(**more: object) -> ExponentialHistogramDataPoint:
    return ExponentialHistogramDataPoint(
        start_time_unix_nano=nano(T0 - 60),
        time_unix_nano=nano(T0),
        **more,  # type: ignore[arg-type]
    )


def _buckets(offset: int, *counts: int) -> ExponentialHistogramDataPoint.Buckets:
    return ExponentialHistogramDataPoint.Buckets(offset=offset, bucket_counts=counts)


def test_an_exponential_histogram_on_both_sides_of_zero() -> None:
    point = _exponential(
        count=20, scale=0, zero_count=10, zero_threshold=0.5, negative=_buckets(1, 5), positive=_buckets(2, 5)
    )
    found = values(translate(request(exponential("h", point))))
    # 5 in [-4, -2), 10 around zero, 5 in (4, 8].
    assert found["h_p50"] == 0.0
    assert found["h_p90"] == pytest.approx(4 + 4 * 3 / 5)
    assert found["h_count"] == 20.0


def test_an_exponential_histogram_of_zeros_alone_and_an_empty_one() -> None:
    zeros = values(translate(request(exponential("h", _exponential(count=3, zero_count=3, scale=2)))))
    assert [zeros[f"h_p{percent}"] for percent in (50, 90, 95, 99)] == [0.0] * 4
    assert values(translate(request(exponential("h", _exponential(scale=5))))) == {"h_count": 0.0}


def test_extreme_scales_and_offsets() -> None:
    point = _exponential(count=1, scale=20, positive=_buckets(2**31 - 1, 1))
    assert values(translate(request(exponential("h", point))))["h_p50"] > 1.0
    point = _exponential(count=1, scale=-10, positive=_buckets(5, 1))
    assert translate(request(exponential("h", point))).unread == ()
    (unread,) = translate(request(exponential("h", _exponential(count=1, scale=99)))).unread
    assert unread.reason == "invalid_histogram"


def test_a_cumulative_exponential_histogram_may_become_coarser() -> None:
    translator = OtlpTranslator(decode_protobuf, OtlpTerms(), Names())
    fine = _exponential(count=4, scale=1, positive=_buckets(0, 2, 2))
    coarse = ExponentialHistogramDataPoint(
        start_time_unix_nano=nano(T0 - 60),
        time_unix_nano=nano(T0 + 60),
        count=14,
        scale=0,
        positive=_buckets(0, 4, 0, 10),
    )
    translator.translate(request(exponential("h", fine, temporality=CUMULATIVE)))
    found = values(translator.translate(request(exponential("h", coarse, temporality=CUMULATIVE))))
    assert found["h_p50"] == pytest.approx(6.0), "all ten that came in are in (4, 8]"


@pytest.mark.parametrize("threshold", [4.0, 5.0])
def test_the_zero_bucket_of_a_cumulative_exponential_histogram_may_become_wider(threshold: float) -> None:
    """What it swallows was counted before; nothing begins anew. At 5 it reaches into the bucket (4, 8]."""
    translator = OtlpTranslator(decode_protobuf, OtlpTerms(), Names({"h": Renaming(merge=True)}))
    sides = {"negative": _buckets(0, 20), "positive": _buckets(0, 100, 100, 3, 7)}
    narrow = _exponential(count=231, scale=0, zero_count=1, **sides)
    wide = ExponentialHistogramDataPoint(
        start_time_unix_nano=nano(T0 - 60),
        time_unix_nano=nano(T0 + 60),
        count=241,
        scale=0,
        zero_threshold=threshold,
        zero_count=221 if threshold == 4.0 else 222,
        positive=_buckets(2, 3 if threshold == 4.0 else 2, 17),
    )
    translator.translate(request(exponential("h", narrow, temporality=CUMULATIVE)))
    found = values(translator.translate(request(exponential("h", wide, temporality=CUMULATIVE))))
    assert found["h_count"] == 10.0
    assert found["h_p50"] == pytest.approx(12.0), "all ten that came in are in (8, 16]"


def test_a_narrower_zero_bucket_or_a_finer_scale_is_a_histogram_begun_anew() -> None:
    translator = OtlpTranslator(decode_protobuf, OtlpTerms(), Names({"h": Renaming(merge=True)}))
    counts = []
    for step, (scale, threshold) in enumerate([(0, 1.0), (0, 0.5), (1, 0.5)]):
        point = _exponential(count=9, scale=scale, zero_threshold=threshold, positive=_buckets(4, 9))
        point.time_unix_nano = nano(T0 + step)
        found = translator.translate(request(exponential("h", point, temporality=CUMULATIVE)))
        counts.append(values(found)["h_count"])
    assert counts == [9.0, 9.0, 9.0]


def test_cumulative_points_that_are_old_repeated_or_begun_anew() -> None:
    translator = OtlpTranslator(decode_protobuf, OtlpTerms(), Names())

    def point(counts: list[int], at: float, start: float) -> Translated:
        metric = histogram("h", explicit(counts, [1.0, 2.0], at=at, start=start), temporality=CUMULATIVE)
        return translator.translate(request(metric))

    first = point([1_000, 0, 0], T0, T0 - 86_400)
    assert "h_p50" not in values(first)
    assert first.passed_over == {"no_former_point": 1}
    assert values(first)["h_count"] == 1_000.0
    assert values(point([1_000, 4, 0], T0 + 60, T0 - 86_400))["h_p50"] == 1.5
    assert point([1_000, 4, 0], T0 + 60, T0 - 86_400).passed_over == {"out_of_order": 1}
    assert values(point([0, 2, 0], T0 + 120, T0 - 86_400))["h_p50"] == 1.5, "counted anew without a new start"
    assert values(point([2, 0, 0], T0 + 180, T0 + 150))["h_p50"] == 0.5, "a new process"
