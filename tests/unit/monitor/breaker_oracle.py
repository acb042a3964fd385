"""Breakers as docs/breakers.md describes them, written down again: one second and one sample at a time.

It shares nothing with the monitor but the numbers: no rules, no engine, no phases. A check's definition is
compared by value, so a change of the configuration begins anew what the text says begins anew.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.unit.monitor.reference import LogRecord, Point

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le
}  # fmt: skip
_OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}
Limit = tuple[str, float]


@dataclass(frozen=True)
class CheckText:
    """A check as it is written; ``own``: in the component's part of the file."""

    metric: str
    aggregate: str
    window: int
    when: Limit
    clear: Limit | None
    lasting: int
    min_samples: int
    silence_fails: bool
    own: bool = False

    def breaches(self, value: float) -> bool:
        return _HOLDS[self.when[0]](value, self.when[1])

    def is_clear(self, value: float) -> bool:
        sign, limit = self.clear or (_OPPOSITE[self.when[0]], self.when[1])
        return _HOLDS[sign](value, limit)


@dataclass(frozen=True)
class PlanText:
    """A component's breaker as it is written; the fallbacks in their order."""

    checks: Mapping[str, CheckText]
    fallbacks: Sequence[tuple[str, frozenset[str]]]
    open_for: int
    probe_for: int
    within: int
    at_most: int
    quiet_for: int

    @property
    def settings(self) -> tuple[Any, ...]:
        times = (self.open_for, self.probe_for, self.within, self.at_most, self.quiet_for)
        return (*times, tuple(self.fallbacks))


@dataclass(frozen=True)
class FileText:
    """Every component's breaker, and those that have their own, or none."""

    common: PlanText
    components: Mapping[str, PlanText | None] = field(default_factory=dict)

    def of(self, component: str) -> PlanText | None:
        return self.components.get(component, self.common)


@dataclass
class _Watched:
    """One check of one component, second by second."""

    failing: bool = False
    clear_since: int | None = None
    began: int | None = None
    samples: int = 0

    def look(self, check: CheckText, seen: Sequence[_Seen], t: int) -> tuple[bool, float | None]:
        """Whether it fails as of now and did not before, and its value."""
        known = [each for each in seen if each.point.metric == check.metric and each.first <= t]
        value = _value(check, known, t)
        if value is None:
            breaching, is_clear = check.silence_fails and bool(known), False
        else:
            breaching, is_clear = check.breaches(value), check.is_clear(value)
        self.clear_since = (t if self.clear_since is None else self.clear_since) if is_clear else None
        if self.failing:
            over = is_clear if value is not None else not check.silence_fails
            self.failing = not over
            self.began = None if over else self.began
            return False, value
        if not breaching:
            self.began = None
            return False, value
        begins = self.began is None
        if self.began is None:
            self.began, self.samples = t, 0
        self.samples += _breaching(check, known, t, begins=begins)
        if value is None:
            self.samples = max(self.samples, check.min_samples)
        self.failing = t - self.began >= check.lasting and self.samples >= check.min_samples
        return self.failing, value


@dataclass
class _Component:
    checks: dict[str, tuple[CheckText, _Watched]]
    settings: tuple[Any, ...]
    state: str = "closed"
    since: int = 0
    until: int | None = None
    closed_once: bool = False
    doublings: int = 0
    fallback: str | None = None
    failed: dict[str, tuple[float | None, int]] = field(default_factory=dict)


@dataclass
class _Seen:
    point: Point
    first: int


@dataclass
class BreakerOracle:
    """Every decision on one partition's log; ``told`` as tuples that ``shown`` makes."""

    file: FileText
    lateness: float = 0.0
    told: list[tuple[Any, ...]] = field(default_factory=list)
    _seen: dict[str, list[_Seen]] = field(default_factory=dict)
    _known: dict[str, _Component] = field(default_factory=dict)
    _evaluated: int | None = None
    _shown: float = -math.inf

    def feed(self, records: Iterable[LogRecord]) -> None:
        for record in records:
            self._feed(record)

    def change(self, file: FileText) -> None:
        """A restart under another file."""
        self.file = file
        for component, known in sorted(self._known.items()):
            plan = file.of(component)
            if plan is None:
                del self._known[component]
                self.told.append((component, "removed"))
                continue
            before = known.failed
            known.checks = {
                name: known.checks[name]
                if name in known.checks and known.checks[name][0] == text
                else (text, _Watched())
                for name, text in plan.checks.items()
            }
            known.failed = {name: fact for name, fact in before.items() if name in plan.checks}
            changed = known.settings != plan.settings or known.failed.keys() != before.keys()
            known.settings = plan.settings
            if changed and known.state != "closed" and self._evaluated is not None:
                known.fallback = _first(plan, known.failed) or known.fallback
                self._tell(component, known, "settings_changed", self._evaluated)

    def _feed(self, record: LogRecord) -> None:
        times = [min(point.time, record.append) for point in record.points]
        if record.clock is not None:
            times.append(min(record.clock, record.append))
        if not times:
            return
        if self._evaluated is None:
            raw = [point.time for point in record.points] or times
            self._evaluated = min(math.ceil(min(raw)) - 1, math.floor(max(times) - self.lateness))
        for point in record.points:
            seen = _Seen(point, max(math.ceil(point.time), self._evaluated + 1))
            self._seen.setdefault(point.component, []).append(seen)
        self._shown = max(self._shown, *times)
        while self._evaluated < math.floor(self._shown - self.lateness):
            self._evaluated += 1
            for component in sorted(self._seen):
                self._second(component, self._evaluated)

    def _second(self, component: str, t: int) -> None:
        plan = self.file.of(component)
        if plan is None:
            return
        known = self._known.get(component)
        begins = known is None
        if known is None:
            checks = {name: (text, _Watched()) for name, text in plan.checks.items()}
            known = _Component(checks, plan.settings, since=t)
        fresh: dict[str, tuple[float | None, int]] = {}
        moved = False
        for name, (text, watched) in known.checks.items():
            before = (watched.failing, watched.clear_since is None, watched.began is None)
            fails, value = watched.look(text, self._seen[component], t)
            moved = moved or before != (watched.failing, watched.clear_since is None, watched.began is None)
            if fails and watched.began is not None:
                fresh[name] = (value, watched.began)
        if begins and not moved:
            return
        self._known[component] = known
        reason = self._move(plan, known, fresh, t) or ("first_seen" if begins else None)
        if reason is not None:
            self._tell(component, known, reason, t)

    def _move(
        self, plan: PlanText, known: _Component, fresh: Mapping[str, tuple[float | None, int]], t: int
    ) -> str | None:
        failing = any(watched.failing for _, watched in known.checks.values())
        if known.state == "closed":
            if not fresh:
                return None
            if known.closed_once and t - known.since <= plan.within:
                self._double(plan, known)
            elif t - known.since >= plan.quiet_for:
                known.doublings = 0
            self._open(plan, known, fresh, t, since=t)
            return "check_failed"
        if known.state == "open":
            joins = bool(fresh.keys() - known.failed.keys())
            if known.until is not None and t >= known.until:
                if failing:
                    self._double(plan, known)
                    self._open(plan, known, fresh, t, since=known.since)
                    return "still_failing"
                known.failed.update(fresh)
                known.state, known.since, known.until = "half_open", t, None
                return "open_long_enough"
            known.failed.update(fresh)
            if not joins:
                return None
            known.fallback = _first(plan, known.failed) or known.fallback
            return "another_check_failed"
        if failing:
            self._double(plan, known)
            self._open(plan, known, fresh, t, since=t)
            return "failed_again"
        clear = [known.checks[name][1].clear_since for name in known.failed]
        if any(at is None for at in clear):
            return None
        if t - max([known.since, *(at for at in clear if at is not None)]) < plan.probe_for:
            return None
        known.state, known.since, known.fallback, known.failed = "closed", t, None, {}
        known.closed_once = True
        return "clear_long_enough"

    def _double(self, plan: PlanText, known: _Component) -> None:
        if plan.open_for * 2**known.doublings < plan.at_most:
            known.doublings += 1

    def _open(
        self,
        plan: PlanText,
        known: _Component,
        fresh: Mapping[str, tuple[float | None, int]],
        t: int,
        *,
        since: int,
    ) -> None:
        known.failed.update(fresh)
        known.state, known.since = "open", since
        known.until = t + min(plan.open_for * 2**known.doublings, plan.at_most)
        known.fallback = _first(plan, known.failed) or known.fallback

    def _tell(self, component: str, known: _Component, reason: str, t: int) -> None:
        failed = tuple(sorted((name, *fact) for name, fact in known.failed.items()))
        what = (known.state, reason, known.fallback, known.since, known.until, known.doublings, failed)
        self.told.append((component, t, *what))


def _first(plan: PlanText, failed: Iterable[str]) -> str | None:
    names = set(failed)
    return next((use for use, on in plan.fallbacks if on & names), None)


def _window(known: Sequence[_Seen], t: int, seconds: int) -> list[_Seen]:
    return [each for each in known if t - seconds < math.ceil(each.point.time) <= t]


def _value(check: CheckText, known: Sequence[_Seen], t: int) -> float | None:
    window = _window(known, t, check.window)
    if not window:
        return None
    values = [each.point.value for each in window]
    if check.aggregate == "last":
        return max(enumerate(window), key=lambda item: (item[1].point.time, item[0]))[1].point.value
    match check.aggregate:
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "sum":
            return math.fsum(values)
    return float(len(values))


def _breaching(check: CheckText, known: Sequence[_Seen], t: int, *, begins: bool) -> int:
    """The breaching samples of this evaluation: at the begin those of the window, later the new ones."""
    window = _window(known, t, check.window)
    new = [each for each in window if each.first == t]
    alone = check.aggregate in ("last", "max", "min")
    if begins and check.aggregate == "last":
        count = sum(check.breaches(each.point.value) for each in new)
        return max(count, 1 if window else 0)
    chosen = window if begins else new
    return sum(check.breaches(each.point.value) if alone else 1 for each in chosen)
