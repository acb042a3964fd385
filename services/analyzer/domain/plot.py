"""Geometry of the report's plots: scales, ticks, paths, marks. The template only draws it.

Coordinates are SVG user units with the origin at the top left, rounded to a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.analyzer.domain.document import MetricPart, Report, Stage
from services.analyzer.domain.impact import Point, pieces
from services.analyzer.domain.wording import clock, number

_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_SAME = 1e-9
"""Values nearer to each other than this are drawn as one: a tick has ten digits after the point."""

_MARK_DISTANCE = 20.0
_MARKED = ("began", "fired", "requested", "started", "completed", "planned", "recovered")


@dataclass(frozen=True, slots=True)
class Size:
    """A plot's outer size and its margins."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


LARGE = Size(960, 380, 66, 20, 62, 34)
SMALL = Size(300, 130, 46, 10, 12, 20)


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A stage on the time axis: a numbered flag in row ``row`` above the plot."""

    x: float
    number: int
    row: int
    key: str
    label: str
    time: str


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time."""

    x: float
    width: float
    key: str
    label: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One metric over time, ready to be drawn."""

    size: Size
    title: str
    description: str
    paths: tuple[str, ...]
    dots: tuple[Point, ...]
    area: tuple[str, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    threshold: float | None
    threshold_label: str
    marks: tuple[Mark, ...]
    bands: tuple[Band, ...]

    @property
    def bottom(self) -> float:
        return self.size.height - self.size.bottom

    @property
    def right(self) -> float:
        return self.size.width - self.size.right


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map of [low, high] onto [begin, end]."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.begin + share * (self.end - self.begin), 1)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def plot_of(report: Report, part: MetricPart, size: Size, *, marked: bool) -> Plot | None:
    """The plot of a metric around the incident; None where it has too few samples."""
    shown = focus(report)
    points = [one for one in part.points if shown[0] <= one[0] <= shown[1]]
    if len(points) < 2:
        return None
    x = Scale(points[0][0], points[-1][0], size.left, size.width - size.right)
    ticks = value_ticks([value for _, value in points], part.threshold, 5 if marked else 3)
    y = Scale(ticks[0], ticks[-1], size.height - size.bottom, size.top)
    drawn = pieces(points)
    return Plot(
        size=size,
        title=f"{part.metric} of {part.component}" + (f" ({part.labels})" if part.labels else ""),
        description=_description(part),
        paths=tuple(_path(piece, x, y) for piece in drawn if len(piece) > 1),
        dots=tuple((x(piece[0][0]), y(piece[0][1])) for piece in drawn if len(piece) == 1),
        area=tuple(_area(piece, x, y) for piece in drawn if len(piece) > 1),
        x_ticks=tuple(Tick(x(at), label) for at, label in time_ticks(x.low, x.high, 8 if marked else 4)),
        y_ticks=tuple(Tick(y(value), number(value)) for value in ticks),
        threshold=None if part.threshold is None else y(part.threshold),
        threshold_label="" if part.threshold is None else f"threshold {part.condition.split(' for ')[0]}",
        marks=marks(report.stages, x) if marked else (),
        bands=_bands(report, x),
    )


def focus(report: Report) -> tuple[float, float]:
    """The stretch of time that is plotted, in epoch seconds: the incident, and as much before and
    after it as shows what was usual."""
    begin = report.began.timestamp()
    ends = [one.at.timestamp() for one in report.stages if one.key != "closed"]
    end = max(ends, default=begin)
    length = max(end - begin, 20.0)
    return begin - max(60.0, length), end + max(30.0, length / 2)


def time_ticks(low: float, high: float, count: int) -> list[tuple[float, str]]:
    """At most about ``count`` round times of day, UTC."""
    wanted = (high - low) / max(count, 1)
    step = next((one for one in _TIME_STEPS if one >= wanted), _TIME_STEPS[-1])
    form = "%H:%M" if step >= 60 else "%H:%M:%S"
    first = math.ceil(low / step) * step
    times = [first + index * step for index in range(int((high - first) // step) + 1)]
    return [(at, datetime.fromtimestamp(at, UTC).strftime(form)) for at in times]


def value_ticks(values: Sequence[float], threshold: float | None, count: int) -> list[float]:
    """Round values that hold all of ``values`` and the threshold between the first and the last."""
    reach = [*values, *([threshold] if threshold is not None else [])]
    low, high = min(reach), max(reach)
    if low >= 0 and low < high * 0.6:
        low = 0.0
    largest = max(abs(low), abs(high))
    if high - low <= _SAME + 1e-12 * largest:
        room = 0.1 * (largest if largest > _SAME else 1.0)
        low, high = low - room, high + room
    step = _round_step((high - low) / count)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _round_step(wanted: float) -> float:
    power = 10.0 ** math.floor(math.log10(wanted))
    return float(next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= wanted * 0.999))


def marks(found: Sequence[Stage], x: Scale) -> tuple[Mark, ...]:
    """The stages that are marked, numbered; flags that would overlap go into other rows."""
    rows: list[float] = []
    placed = []
    shown = [one for one in found if one.key in _MARKED and x.holds(one.at.timestamp())]
    for place, stage in enumerate(shown, start=1):
        at = x(stage.at.timestamp())
        row = next((index for index, last in enumerate(rows) if at - last >= _MARK_DISTANCE), len(rows))
        if row == len(rows):
            rows.append(at)
        rows[row] = at
        placed.append(Mark(at, place, min(row, 2), stage.key, stage.label, clock(stage.at)))
    return tuple(placed)


def _bands(report: Report, x: Scale) -> tuple[Band, ...]:
    """The breach, and the rollbacks within it."""
    stretches = [
        (one.started_at, one.ended_at, "rollback", "rollback")
        for one in report.executions
        if one.ended_at is not None and one.status != "planned"
    ]
    if report.triggers:
        end = report.recovered_at or report.closed_at
        stretches.insert(0, (report.triggers[0].began, end, "breach", "breach"))
    bands = []
    for begin, end, key, label in stretches:
        left = x(max(begin.timestamp(), x.low))
        right = x(min(end.timestamp(), x.high))
        if right > left:
            bands.append(Band(left, round(right - left, 1), key, label))
    return tuple(bands)


def _path(piece: Sequence[Point], x: Scale, y: Scale) -> str:
    return "M" + "L".join(f"{x(at)},{y(value)}" for at, value in piece)


def _area(piece: Sequence[Point], x: Scale, y: Scale) -> str:
    return f"{_path(piece, x, y)}L{x(piece[-1][0])},{y.begin}L{x(piece[0][0])},{y.begin}Z"


def _description(part: MetricPart) -> str:
    """What someone who cannot see the plot must know."""
    phases = [
        f"median {number(figures.median)} {when}"
        for when, figures in (("before", part.before), ("during", part.during), ("after", part.after))
        if figures.median is not None
    ]
    text = f"{part.metric} over time: {', '.join(phases)}"
    if part.threshold is not None:
        text += f"; threshold {part.condition}"
    if part.worst is not None and part.worst_at is not None:
        text += f"; worst {number(part.worst)} at {clock(part.worst_at)} UTC"
    return text + "."
