"""What translators share: their interface, and what becomes of each point that they read.

A point of another format becomes a sample, is passed over (it says nothing that a sample could
say, such as NaN), or is unreadable. Each is counted; nothing vanishes in between.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from schemas.metrics import MAX_TIME, Sample, Unread, sample_problem
from services.monitor.domain.ingest.names import Names

NOT_A_NUMBER, INFINITE, NOT_LISTED = "not_a_number", "infinite", "not_listed"
_MAX_METRIC_NAME = 256


@dataclass(frozen=True, slots=True)
class Translated:
    """What one record of another format holds.

    ``unread`` names the points (``item``, from 0 over the whole record) or the record that could
    not be read; ``passed_over`` counts points that are no samples, by reason.
    """

    samples: tuple[Sample, ...] = ()
    unread: tuple[Unread, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)


class Translator(Protocol):
    """Reads the records of one partition of a foreign topic, in order.

    ``look_back`` is how many earlier records a new owner lets it see first, for what it remembers.
    """

    look_back: int

    def resumes_at(self, time: float) -> None:
        """The next record was appended at ``time`` (epoch seconds); those before it were translated, and
        are not seen. Without this call all that was translated is."""
        ...

    def translate(self, value: bytes | None) -> Translated:
        """Raises nothing: what cannot be read is in ``unread``."""
        ...


class Gathering:
    """Collects what one record holds; ``item`` counts its points."""

    def __init__(self) -> None:
        self.item = -1
        self._samples: list[Sample] = []
        self._unread: list[Unread] = []
        self._passed_over: Counter[str] = Counter()

    def add(
        self, metric: str, component: str, value: float, time: float, labels: dict[str, str] | None
    ) -> None:
        """Note one sample (``time`` in epoch seconds), unless it is none."""
        if not self.is_finite(value):
            return
        if not 0 < len(metric) <= _MAX_METRIC_NAME:
            self.refuse("invalid_name", f"a metric's name of {len(metric)} characters: {metric[:60]!r}")
        elif not 0.0 < time <= MAX_TIME:
            self.refuse("invalid_time", f"{metric}: the time {time:g} is not set, or after the year 9999")
        else:
            self._samples.append(Sample(metric, component, value, time, labels or None))

    def is_finite(self, value: float) -> bool:
        """Whether it is a number that a sample could have; it is passed over if not."""
        if math.isfinite(value):
            return True
        self.pass_over(NOT_A_NUMBER if math.isnan(value) else INFINITE)
        return False

    def pass_over(self, reason: str, count: int = 1) -> None:
        self._passed_over[reason] += count

    def refuse(self, reason: str, error: str) -> None:
        """Note that the point which is being read, or all of a group, cannot be read."""
        self._unread.append(Unread(reason, error, max(0, self.item)))

    def translated(self) -> Translated:
        """A record of which nothing was read, for one reason, is unreadable as a whole: it is told once, and
        can be read again without reading any of it twice."""
        unread = tuple(self._unread)
        if unread and not self._samples and len({each.reason for each in unread}) == 1:
            more = f" (and {len(unread) - 1} more like this)" if len(unread) > 1 else ""
            unread = (Unread(unread[0].reason, unread[0].error + more),)
        return Translated(tuple(self._samples), unread, dict(self._passed_over))


class Components:
    """Which component a name at the origin stands for."""

    def __init__(self, names: Names, default: str | None, source: str) -> None:
        self._names = names
        self._default = default
        self._source = source
        self._known: dict[str, str | Unread] = {}

    def of(self, name: str | None) -> str | Unread:
        """The component, or why there is none. ``name`` is None where the origin names none."""
        if not name:
            if self._default is None:
                return Unread("no_component", f"no {self._source} names a component, and there is no default")
            return self._default
        found = self._known.get(name)
        if found is None:
            found = self._checked(name)
            if len(self._known) < 10_000:
                self._known[name] = found
        return found

    def _checked(self, name: str) -> str | Unread:
        component = self._names.components.get(name, name)
        problem = sample_problem(Sample("metric", component, 0.0, 0.0))
        if problem is None:
            return component
        return Unread(
            "invalid_component",
            f"{problem.error}. Name the component of {name[:60]!r} under `components` in ingest.yml",
        )
