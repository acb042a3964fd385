"""The impact of an incident, read off the metrics of its components before, during and after."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.metrics import epoch_seconds, read_record
from services.analyzer.domain.document import Figures, MetricPart, TriggerPart
from services.analyzer.domain.evidence import EvidenceRecord
from services.analyzer.domain.wording import unit_of

MAX_POINTS = 600
"""Points kept of a series for plotting: more cannot be told apart."""

_GAP = 5.0
"""A hole of so many usual distances between samples is a hole, not a slow series."""

Point = tuple[float, float]
SeriesKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Window:
    """The breach, in epoch seconds: before it, during it (both ends included), after it."""

    begin: float
    end: float


def series_in(records: Iterable[EvidenceRecord], components: Sequence[str]) -> dict[SeriesKey, list[Point]]:
    """Samples by (component, metric, labels), in the order of time; one a time, the last by offset."""
    found: dict[SeriesKey, dict[float, float]] = {}
    for record in records:
        if record.kind != "metrics":
            continue
        for sample in read_record(record.value).samples:
            if sample.component in components:
                key = (sample.component, sample.metric, _labels(sample.labels))
                found.setdefault(key, {})[epoch_seconds(sample.time)] = sample.value
    return {key: sorted(points.items()) for key, points in sorted(found.items())}


def _labels(labels: Mapping[str, str] | None) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted((labels or {}).items()))


def metric_parts(
    series: Mapping[SeriesKey, Sequence[Point]], window: Window, triggers: Sequence[TriggerPart]
) -> tuple[MetricPart, ...]:
    """Each series with its figures; those that a trigger watches come first."""
    watched = {(one.component, one.metric): one for one in reversed(triggers)}
    parts = [
        _metric_part(key, points, window, watched.get((key[0], key[1]))) for key, points in series.items()
    ]
    order = {(one.component, one.metric): place for place, one in reversed(list(enumerate(triggers)))}
    last = len(order)
    return tuple(
        sorted(
            parts,
            key=lambda one: (
                order.get((one.component, one.metric), last),
                one.component,
                one.metric,
                one.labels,
            ),
        )
    )


def _metric_part(
    key: SeriesKey, points: Sequence[Point], window: Window, trigger: TriggerPart | None
) -> MetricPart:
    component, metric, labels = key
    during = [one for one in points if window.begin <= one[0] <= window.end]
    downward = trigger is not None and is_downward(trigger.condition)
    worst = _worst(during, downward=downward) if trigger else None
    is_counter = metric.endswith("_total")
    return MetricPart(
        component=component,
        metric=metric,
        labels=labels,
        unit=unit_of(metric),
        threshold=trigger.threshold if trigger else None,
        condition=trigger.condition if trigger else "",
        before=_figures([one for one in points if one[0] < window.begin], is_counter=is_counter),
        during=_figures(during, is_counter=is_counter),
        after=_figures([one for one in points if one[0] > window.end], is_counter=is_counter),
        worst=worst[1] if worst else None,
        worst_at=datetime.fromtimestamp(worst[0], UTC) if worst else None,
        beyond_threshold_s=time_beyond(points, trigger.threshold, downward=downward) if trigger else None,
        points=tuple((round(at, 3), value) for at, value in thinned(points)),
    )


def is_downward(condition: str) -> bool:
    """Whether a condition in words (``< 0.9 for 2m``) is breached by small values."""
    return condition.lstrip().startswith("<")


def _worst(points: Sequence[Point], *, downward: bool) -> Point | None:
    """The first of the most extreme values."""
    if not points:
        return None
    sign = -1.0 if downward else 1.0
    return max(points, key=lambda one: (sign * one[1], -one[0]))


def _figures(points: Sequence[Point], *, is_counter: bool) -> Figures:
    values = [value for _, value in points]
    if not values:
        return Figures(samples=0, median=None, low=None, high=None, increase=None)
    steps = (later - earlier for earlier, later in itertools.pairwise(values))
    return Figures(
        samples=len(values),
        median=statistics.median(values),
        low=min(values),
        high=max(values),
        increase=sum(step for step in steps if step > 0) if is_counter else None,
    )


def usual_distance(points: Sequence[Point]) -> float:
    """The median time between samples, s; 0 where there are fewer than two."""
    distances = [later[0] - earlier[0] for earlier, later in itertools.pairwise(points)]
    return statistics.median(distances) if distances else 0.0


def time_beyond(points: Sequence[Point], threshold: float, *, downward: bool) -> float:
    """For how long the metric was beyond its threshold, s: each sample holds until the next one,
    but not through a hole in the series."""
    usual = usual_distance(points)
    total = 0.0
    for index, (at, value) in enumerate(points):
        if (value < threshold) if downward else (value > threshold):
            until = points[index + 1][0] if index + 1 < len(points) else at + usual
            total += min(until - at, _GAP * usual)
    return round(total, 3)


def thinned(points: Sequence[Point], limit: int = MAX_POINTS) -> list[Point]:
    """At most ``limit`` points that look the same: of each stretch the lowest and the highest."""
    if len(points) <= limit:
        return list(points)
    stretches = limit // 2
    kept: list[Point] = []
    for index in range(stretches):
        stretch = points[index * len(points) // stretches : (index + 1) * len(points) // stretches]
        kept.extend(sorted({min(stretch, key=lambda one: one[1]), max(stretch, key=lambda one: one[1])}))
    return kept


def pieces(points: Sequence[Point]) -> list[list[Point]]:
    """A series cut at its holes, so that no line is drawn where nothing was measured."""
    usual = usual_distance(points)
    found: list[list[Point]] = []
    for point in points:
        if found and point[0] - found[-1][-1][0] <= _GAP * usual:
            found[-1].append(point)
        else:
            found.append([point])
    return found
