"""Tests of triggers: what is written down, and what is expected of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.reports import ReportKind
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.phases import Phase

START = 1_767_225_600
"""Second 0 of every test: 2026-01-01T00:00:00Z."""


@dataclass(frozen=True, slots=True)
class InputSeries:
    """The value of a metric at each interval, None for a gap."""

    metric: str
    component: str
    values: Sequence[float | None]
    labels: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ReleaseAt:
    """At second ``at`` the component began to run something else."""

    component: str
    at: int
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ReportAt:
    """At second ``at`` somebody reported what no metric shows."""

    kind: ReportKind
    component: str
    at: int
    reported_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """At second ``at`` of the test a trigger changed its phase for a group, and why. ``began`` is the
    first second of its breach."""

    at: int
    trigger: str
    of: Group
    before: Phase
    after: Phase
    reason: str
    why: str
    began: int

    def __str__(self) -> str:
        who = f"{format_duration(self.at)} {self.trigger} of {self.of}"
        return f"{who}: {self.before} → {self.after} ({self.reason}): {self.why}"


@dataclass(frozen=True, slots=True)
class ExpectedPhase:
    """At second ``at`` the phase and, where there are ``values``, those (None: no data): of the first
    conditions of the trigger, of a compound one how many components or reports there are."""

    at: int
    trigger: str
    of: Group
    phase: Phase
    place: str
    values: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class ExpectedTransition:
    """A change of phase; ``before`` and ``reason`` None: any."""

    at: int
    trigger: str
    of: Group
    after: Phase
    place: str
    before: Phase | None = None
    reason: str | None = None

    def fits(self, change: Change) -> bool:
        return (
            change.at == self.at
            and change.trigger == self.trigger
            and change.of == self.of
            and change.after == self.after
            and self.before in (None, change.before)
            and self.reason in (None, change.reason)
        )

    def __str__(self) -> str:
        before = f"{self.before} → " if self.before else "→ "
        reason = f" ({self.reason})" if self.reason else ""
        return f"{format_duration(self.at)} {self.trigger} of {self.of}: {before}{self.after}{reason}"


@dataclass(frozen=True, slots=True)
class TriggerTest:
    """One test; ``interval`` and ``until`` (how long time passes) in seconds.

    ``transitions`` None: they are not looked at; empty: no trigger changes its phase.
    """

    name: str
    place: str
    interval: int
    until: int
    series: Sequence[InputSeries]
    phases: Sequence[ExpectedPhase] = ()
    transitions: Sequence[ExpectedTransition] | None = None
    releases: Sequence[ReleaseAt] = ()
    reports: Sequence[ReportAt] = ()

    def samples(self) -> list[tuple[int, InputSeries, float]]:
        """Seconds since the epoch, series and value, in order of time."""
        found = [
            (START + at * self.interval, series, value)
            for series in self.series
            for at, value in enumerate(series.values)
            if value is not None
        ]
        found.sort(key=lambda entry: entry[0])
        return found
