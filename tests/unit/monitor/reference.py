"""A second engine to compare with: one record, one second and one sample at a time.

It shares the phase table with the real one (that table has its own tests) and nothing else:
no columns, no panes, no blocks, no skipping.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.phases import INACTIVE, Finding, State, Verdict, step
from services.monitor.domain.language.rules import Baseline, Check, Rule

REPEATED_WITHIN_S = 300
Told = tuple[int, str, str, str, str, str, str | None, float | None, int]


@dataclass(frozen=True)
class Point:
    metric: str
    component: str
    time: float
    value: float
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LogRecord:
    """Offset, append time (epoch seconds), and either points, a clock, or a release of a component at a
    time."""

    offset: int
    append: float
    points: tuple[Point, ...] = ()
    clock: float | None = None
    release: tuple[str, float] | None = None


@dataclass
class _Seen:
    point: Point
    first: int


@dataclass
class _Release:
    component: str
    time: float
    offset: int
    first: int


@dataclass
class ReferenceEngine:
    rules: Sequence[Rule]
    lateness: float
    seen: list[_Seen] = field(default_factory=list)
    releases: list[_Release] = field(default_factory=list)
    states: dict[tuple[str, Group], State] = field(default_factory=dict)
    baselines: dict[tuple[str, Group], list[float | None]] = field(default_factory=dict)
    admitted: dict[str, list[Group]] = field(default_factory=dict)
    overflows: dict[str, tuple[Group, int]] = field(default_factory=dict)
    evaluated: int | None = None
    shown: float = -math.inf
    late: int = 0

    def run(self, log: Iterable[LogRecord]) -> list[Told]:
        """Feed it all of these."""
        return [told for record in log for told in self.feed(record)]

    def feed(self, record: LogRecord) -> list[Told]:
        times = [min(point.time, record.append) for point in record.points]
        if record.clock is not None:
            times.append(min(record.clock, record.append))
        if record.release is not None:
            component, time = record.release
            first = math.ceil(time)
            if self.evaluated is not None:
                first = max(first, self.evaluated + 1)
            self.releases.append(_Release(component, time, record.offset, first))
        if not times:
            return []
        if self.evaluated is None:
            raw = [point.time for point in record.points] or times
            self.evaluated = min(math.ceil(min(raw)) - 1, math.floor(max(times) - self.lateness))
            for release in self.releases:
                release.first = max(release.first, self.evaluated + 1)
        for point in record.points:
            second = math.ceil(point.time)
            self.late += second <= self.evaluated
            self.seen.append(_Seen(point, max(second, self.evaluated + 1)))
            for rule in self.rules:
                self._admit(rule, _group(rule, point), second)
        self.shown = max(self.shown, *times)
        told: list[Told] = []
        due = math.floor(self.shown - self.lateness)
        while self.evaluated < due:
            self.evaluated += 1
            found = self._evaluate(self.evaluated)
            is_recent = self.evaluated >= due - REPEATED_WITHIN_S
            told += [entry for entry in found if is_recent or entry[6] not in ("firing", "no_data")]
        return told

    def _admit(self, rule: Rule, group: Group | None, second: int) -> None:
        known = self.admitted.setdefault(rule.name, [])
        if group is None or group in known:
            return
        if len(known) < rule.max_groups:
            known.append(group)
        else:
            self.overflows.setdefault(rule.name, (group, second))

    def _newest_release(self, component: str, t: int) -> _Release | None:
        counting = [each for each in self.releases if each.component == component and each.first <= t]
        return max(counting, key=lambda each: (each.time, each.offset), default=None)

    def _fix_baselines(self, rule: Rule, t: int) -> None:
        """Where the newest release begins to count, for groups whose trigger is inactive."""
        for group in self.admitted.get(rule.name, []):
            release = self._newest_release(group.component, t)
            if release is None or release.first != t:
                continue
            if self._newest_release(group.component, t - 1) is release:
                continue
            if self.states.get((rule.name, group), INACTIVE).phase == "inactive":
                self.baselines[rule.name, group] = [
                    None
                    if check.baseline is None
                    else self._baseline(rule, check, check.baseline, group, release, t)
                    for check in rule.checks
                ]

    def _baseline(
        self, rule: Rule, check: Check, baseline: Baseline, group: Group, release: _Release, t: int
    ) -> float | None:
        """Of what counted before second ``t``, of whole seconds before the release, and of the window
        before ``t``: the samples, or what the value was at so many of the seconds."""
        counted = [seen for seen in self.seen if _group(rule, seen.point) == group and seen.first < t]
        last = math.ceil(release.time) - 1
        if check.to is None and (
            check.aggregate in ("last", "avg", "min", "max") or check.aggregate[0] == "p"
        ):
            values = sorted(
                seen.point.value
                for seen in counted
                if seen.point.metric == check.metric
                and t - baseline.window <= math.ceil(seen.point.time) <= last
            )
        else:
            if check.aggregate == "rate":
                counted = _known_of_counters(counted)
            every = math.ceil(baseline.window / 60)
            known = (_measured(check, counted, at) for at in range(last, t - baseline.window - 1, -every))
            values = sorted(value for value in known if value is not None)
        if not values:
            return None
        mean = min(max(math.fsum(values) / len(values), values[0]), values[-1])
        by_name = {"avg": mean, "min": values[0], "max": values[-1]}
        found = by_name.get(baseline.aggregate)
        if found is None:
            found = _interpolated(values, int(baseline.aggregate[1:]) / 100)
        return found or None

    def _evaluate(self, t: int) -> list[Told]:
        told = []
        for rule in self.rules:
            self._fix_baselines(rule, t)
        for rule in sorted(self.rules, key=lambda rule: rule.name):
            for group in sorted(self.admitted.get(rule.name, [])):
                entry = self._evaluate_one(rule, group, t)
                if entry is not None:
                    told.append(entry)
        return told

    def _evaluate_one(self, rule: Rule, group: Group, t: int) -> Told | None:
        mine = [seen for seen in self.seen if _group(rule, seen.point) == group and seen.first <= t]
        if not mine:
            return None
        known = self.baselines.get((rule.name, group), [None] * len(rule.checks))
        found = [_check(check, mine, t, figure) for check, figure in zip(rule.checks, known, strict=True)]
        verdict = _joined(rule, [verdict for _, verdict, _, _ in found])
        if too_late := self._is_closed(rule, group, t):
            verdict = Verdict.CLEAR
        value = None if verdict is Verdict.NO_DATA or too_late else found[0][0]
        fresh = sum(fresh for _, _, fresh, _ in found)
        standing = sum(standing for _, _, _, standing in found)
        before = self.states.get((rule.name, group), INACTIVE)
        done = step(rule.terms, before, Finding(verdict, fresh, standing, too_late), t)
        self.states[rule.name, group] = done.state
        if done.reason is None:
            return None
        began = done.state.began if before.phase == "inactive" else before.began
        return (
            t, rule.name, str(group), before.phase, done.state.phase, done.reason, done.kind, value, began
        )  # fmt: skip

    def _is_closed(self, rule: Rule, group: Group, t: int) -> bool:
        """Whether the release, or that there is none, leaves no room for a breach."""
        known = self.baselines.get((rule.name, group), [None] * len(rule.checks))
        lacking = [
            check.baseline is not None and figure is None
            for check, figure in zip(rule.checks, known, strict=True)
        ]
        if all(lacking) if rule.join == "any" else any(lacking):
            return True
        if rule.only_within is None:
            return False
        release = self._newest_release(group.component, t)
        return release is None or not t - rule.only_within < math.ceil(release.time)


def fires_between(told: Iterable[Told], first: int, last: int) -> bool:
    """Whether a trigger fires after second ``first``, up to ``last``, or did so before and still does."""
    firing = False
    for each in told:
        at, before, after = each[0], each[3], each[4]
        if at > last or before == after:
            continue
        if first < at and after == "firing":
            return True
        if at <= first:
            firing = after == "firing"
    return firing


def value_at(check: Check, points: Sequence[Point], t: int) -> float | None:
    """The check's value at second ``t``, over these samples of one group; None without data."""
    return _measured(check, [_Seen(point, math.ceil(point.time)) for point in points], t)


def _check(
    check: Check, mine: Sequence[_Seen], t: int, figure: float | None
) -> tuple[float | None, Verdict, int, int]:
    """Value, verdict, fresh and standing samples of one condition."""
    fresh = standing = 0
    for metric in check.metrics:
        window = _window(check, metric, mine, t)
        individual = check.to is None and check.baseline is None
        individual &= check.aggregate not in ("sum", "count", "stddev", "rate", "change")
        counted = [seen for seen in window if not individual or check.when.holds(seen.point.value)]
        new = sum(seen.first == t for seen in counted)
        fresh += new
        if _aggregate(check, window, t) is not None:
            standing += max(new, _held(check, window)) if check.aggregate == "last" else len(counted)
    value = _measured(check, mine, t)
    if check.baseline is None:
        return value, _verdict(check, value), fresh, standing
    if figure is None:
        return None, Verdict.CLEAR, fresh, standing
    relative = None if value is None else (value - figure) / abs(figure)
    return relative, _verdict(check, relative), fresh, standing


def _held(check: Check, window: Sequence[_Seen]) -> int:
    """1 if the newest sample breaches, or the condition says nothing about one sample."""
    newest = max(enumerate(window), key=lambda entry: (entry[1].point.time, entry[0]))[1]
    return int(check.to is not None or check.baseline is not None or check.when.holds(newest.point.value))


def _window(check: Check, metric: str, mine: Sequence[_Seen], t: int) -> list[_Seen]:
    return [seen for seen in mine if seen.point.metric == metric and t - check.window < seen.point.time <= t]


def _measured(check: Check, mine: Sequence[_Seen], t: int) -> float | None:
    """The aggregate, or the ratio of two, at second ``t``."""
    values = [_aggregate(check, _window(check, metric, mine, t), t) for metric in check.metrics]
    if check.to is None:
        return values[0]
    of, to = values
    return None if of is None or to is None or to == 0 else of / to


def _joined(rule: Rule, verdicts: Sequence[Verdict]) -> Verdict:
    """What is certain decides; missing data, where there is some, leaves the rest open."""
    certain, needs_every = Verdict.BREACH, Verdict.CLEAR
    if rule.join == "all":
        certain, needs_every = needs_every, certain
    if certain in verdicts:
        return certain
    if Verdict.NO_DATA in verdicts:
        return Verdict.NO_DATA
    return needs_every if set(verdicts) == {needs_every} else Verdict.BETWEEN


def _group(rule: Rule, point: Point) -> Group | None:
    """By hand: the only matcher that the properties use is ``zone = <value>``."""
    labels = dict(point.labels)
    wanted = [matcher.value == labels.get("zone", "") for matcher in rule.selection.matchers]
    if point.metric not in rule.metrics or not all(wanted):
        return None
    return Group(point.component, tuple((name, labels.get(name, "")) for name in rule.selection.group_by))


def _verdict(rule: Check, value: float | None) -> Verdict:
    if value is None:
        return Verdict.NO_DATA
    if rule.when.holds(value):
        return Verdict.BREACH
    if rule.clear is not None and not rule.clear.holds(value):
        return Verdict.BETWEEN
    return Verdict.CLEAR


def _aggregate(rule: Check, window: Sequence[_Seen], t: int) -> float | None:
    if not window:
        return None
    values = [seen.point.value for seen in window]
    if rule.aggregate == "last":
        newest = max(enumerate(window), key=lambda entry: (entry[1].point.time, entry[0]))
        return newest[1].point.value
    if rule.aggregate[0] == "p":
        return _interpolated(sorted(values), int(rule.aggregate[1:]) / 100)
    if rule.aggregate == "rate":
        return _rate(window)
    if rule.aggregate == "change":
        return _change(rule.window, window, t)
    if rule.aggregate == "stddev":
        return _stddev(window)
    total = math.fsum(values)
    by_name = {
        "avg": min(max(total / len(values), min(values)), max(values)) if math.isfinite(total) else total,
        "sum": total,
        "min": min(values),
        "max": max(values),
        "count": float(len(values)),
    }
    return by_name[rule.aggregate]


def counter_points(points: Sequence[Point]) -> list[Point]:
    """Those points of one group, in the order of the log, from which rates of the past are worked out: not
    those that came between the first and the last one that their second had by then."""
    return [seen.point for seen in _known_of_counters([_Seen(point, 0) for point in points])]


def _known_of_counters(counted: Sequence[_Seen]) -> list[_Seen]:
    known: list[_Seen] = []
    ends: dict[tuple[str, int], tuple[float, float]] = {}
    for seen in counted:
        time, second = seen.point.time, (seen.point.metric, math.ceil(seen.point.time))
        first, last = ends.get(second, (time, time))
        if not first <= time < last:
            known.append(seen)
            ends[second] = min(first, time), max(last, time)
    return known


def _rate(window: Sequence[_Seen]) -> float | None:
    points = [seen.point for seen in sorted(window, key=lambda seen: seen.point.time)]
    span = points[-1].time - points[0].time
    risen = sum(
        after.value - before.value if after.value >= before.value else after.value
        for before, after in itertools.pairwise(points)
    )
    return risen / span if span else None


def _change(length: int, window: Sequence[_Seen], t: int) -> float | None:
    part = length // 5
    first = [seen.point.value for seen in window if seen.point.time <= t - length + part]
    last = [seen.point.value for seen in window if seen.point.time > t - part]
    if not first or not last or not (before := math.fsum(first) / len(first)):
        return None
    return (math.fsum(last) / len(last) - before) / abs(before)


def _stddev(window: Sequence[_Seen]) -> float:
    """Second by second around the second's own mean, then those around the mean of all."""
    seconds: dict[int, list[float]] = {}
    for seen in window:
        seconds.setdefault(math.ceil(seen.point.time), []).append(seen.point.value)
    of_seconds = []
    for _, values in sorted(seconds.items()):
        mean = values[0] + sum(value - values[0] for value in values) / len(values)
        of_seconds.append((len(values), mean, sum((value - mean) * (value - mean) for value in values)))
    oldest = of_seconds[0][1]
    mean = oldest + sum(n * (of_one - oldest) for n, of_one, _ in of_seconds) / len(window)
    squares = sum(own + n * ((of_one - mean) * (of_one - mean)) for n, of_one, own in of_seconds)
    return math.sqrt(squares / len(window))


def _interpolated(values: Sequence[float], quantile: float) -> float:
    rank = (len(values) - 1) * quantile
    below = math.floor(rank)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (rank - below)
