"""However points of cumulative series arrive, what is told of each adds up to what it counted.

The increases of a run of points with one start add up to its newest value, less its first where nobody
knows what came before that. That needs no model of how they are worked out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint, Metric

from services.monitor.domain.ingest.names import Names, Renaming
from services.monitor.domain.ingest.otlp import OtlpTerms, OtlpTranslator
from services.monitor.domain.ingest.otlp_encodings import decode_protobuf
from tests.unit.monitor.ingest.requests import (
    CUMULATIVE,
    T0,
    attributes,
    explicit,
    exponential,
    histogram,
    nano,
    number,
    request,
    total,
)

NAMES = Names({name: Renaming(merge=True) for name in ("c", "h", "e")})
STEP_S = 60
# What happens to a series at a step, and how many events it counts before.
happens = st.tuples(st.sampled_from(["point", "again", "gap", "flag", "restart", "late"]), st.integers(0, 50))


@dataclass
class Counting:
    """One series: its events since its start, and what was delivered of it, by start: (time, count)."""

    start: float
    count: int = 0
    late: tuple[float, float, int] | None = None
    delivered: dict[float, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    def points(self, what: str, events: int, at: float) -> list[tuple[float, float, int]]:
        """(start, time, count) of each point that arrives now, in order of arrival."""
        if what == "restart":
            self.start, self.count = at - 30, 0
        self.count += events
        now = (self.start, at, self.count)
        if what in ("gap", "flag"):
            return []
        if what == "late" and self.late is None:
            self.late = now
            return []
        found = [now, now] if what == "again" else [now]
        if self.late is not None:
            found, self.late = [*found, self.late], None
        for start, time, count in found:
            seen = self.delivered[start]
            if not seen or time > seen[-1][0]:
                seen.append((time, count))
        return found

    def counted(self) -> int:
        """What can be known of it."""
        known = 0
        for start, seen in self.delivered.items():
            young = 0 < seen[0][0] - start <= 600
            known += seen[-1][1] - (0 if young else seen[0][1])
        return known


def _exponential(start: float, at: float, count: int, route: str) -> ExponentialHistogramDataPoint:
    """Of the same events ever coarser: a third of them around 0, the others below and above."""
    sides = ExponentialHistogramDataPoint.Buckets
    return ExponentialHistogramDataPoint(
        start_time_unix_nano=nano(start),
        time_unix_nano=nano(at),
        count=3 * count,
        scale=max(0, 5 - int(at - T0) // STEP_S),
        zero_count=count,
        positive=sides(offset=0, bucket_counts=[count]),
        negative=sides(offset=-1, bucket_counts=[count, 0]),
        attributes=attributes(route=route),
    )


def _metrics(arriving: list[tuple[str, float, float, int]], flagged: list[str], at: float) -> list[Metric]:
    counters = [
        number(count, at=time, start_time_unix_nano=nano(start), attributes=attributes(route=route))
        for route, start, time, count in arriving
    ]
    counters += [number(at=at, flags=1, attributes=attributes(route=route)) for route in flagged]
    plain = [
        explicit([count, 2 * count], [5.0], at=time, start=start, attributes=attributes(route=route))
        for route, start, time, count in arriving
    ]
    fine = [_exponential(start, time, count, route) for route, start, time, count in arriving]
    return [
        total("c", *counters),
        histogram("h", *plain, temporality=CUMULATIVE),
        exponential("e", *fine, temporality=CUMULATIVE),
    ]


@given(
    steps=st.lists(st.tuples(happens, happens), min_size=1, max_size=12),
    ages=st.tuples(st.sampled_from([30, 5_000]), st.sampled_from([30, 5_000])),
)
def test_increases_add_up_to_what_was_counted(
    steps: list[tuple[tuple[str, int], tuple[str, int]]], ages: tuple[int, int]
) -> None:
    translator = OtlpTranslator(decode_protobuf, OtlpTerms(), NAMES)
    series = {"a": Counting(T0 - ages[0], 100), "b": Counting(T0 - ages[1], 7)}
    told: dict[str, float] = defaultdict(float)
    for step, both in enumerate(steps):
        at = T0 + STEP_S * step
        happening = dict(zip(series, both, strict=True))
        arriving = [
            (route, *point)
            for route, (what, events) in happening.items()
            for point in series[route].points(what, events, at)
        ]
        flagged = [route for route, (what, _) in happening.items() if what == "flag"]
        found = translator.translate(request(*_metrics(arriving, flagged, at)))
        assert found.unread == ()
        for sample in found.samples:
            told[sample.metric] += sample.value
    counted = sum(each.counted() for each in series.values())
    assert (told["c"], told["h_count"], told["e_count"]) == (counted, 3 * counted, 3 * counted)
