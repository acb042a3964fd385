"""What groups were like before a release: the samples that are kept for it, shared by all triggers.

Where a check's value is of the size of its samples (a mean, a percentile), it is compared with the
samples themselves, of which a draw does. Any other value (a ratio, a rate, a sum) is compared with
what the same value was, for which every sample is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.monitor.domain.engine.shelves import PastShelf
from services.monitor.domain.language.groups import Group, Selection
from services.monitor.domain.language.rules import Baseline, Check, Rule
from services.monitor.domain.measuring.baselines import Past, look_back_of
from services.monitor.domain.measuring.kept_past import KeptPast, values_before


class Level(Protocol):
    """The past of one check's groups."""

    def feed(self, series: int, metric: str, of: Group) -> None:
        """From now on the samples of this series count for the group."""
        ...

    def before(self, groups: Sequence[Group], releases: Sequence[int], first: int) -> list[list[float]]:
        """The values before the second of each group's release, which counts from ``first`` on."""
        ...


@dataclass(frozen=True, slots=True)
class SampleLevel:
    """Of a check that is compared with its samples."""

    shelf: PastShelf[Past]

    def feed(self, series: int, metric: str, of: Group) -> None:
        self.shelf.feed.add(series, self.shelf.row(of))

    def before(self, groups: Sequence[Group], releases: Sequence[int], first: int) -> list[list[float]]:
        return self.shelf.past.before([self.shelf.row(of) for of in groups], releases, first)


@dataclass(frozen=True, slots=True)
class ValueLevel:
    """Of a check that is compared with the values that it had; a shelf for each of its metrics."""

    check: Check
    window: int
    shelves: tuple[PastShelf[KeptPast], ...]

    def feed(self, series: int, metric: str, of: Group) -> None:
        for name, shelf in zip(self.check.metrics, self.shelves, strict=True):
            if name == metric:
                shelf.feed.add(series, shelf.row(of))

    def before(self, groups: Sequence[Group], releases: Sequence[int], first: int) -> list[list[float]]:
        pasts = [(shelf.past, [shelf.row(of) for of in groups]) for shelf in self.shelves]
        return values_before(self.check, self.window, pasts, releases, first)


class Pasts:
    """The pasts of one partition. Triggers that look at the same samples share one."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[str, Selection, int], PastShelf[Past]] = {}
        self._kept: dict[tuple[str, Selection, int], PastShelf[KeptPast]] = {}

    @property
    def shelves(self) -> Iterable[PastShelf[Past] | PastShelf[KeptPast]]:
        return (*self._drawn.values(), *self._kept.values())

    def level(self, rule: Rule, check: Check, baseline: Baseline) -> Level:
        """Where the values come from that a check of the rule is compared with."""
        window = baseline.window
        if check.is_level:
            key = (check.metric, rule.selection, window)
            return SampleLevel(self._drawn.setdefault(key, PastShelf(Past(window))))
        shelves = []
        for metric in check.metrics:
            kept = (metric, rule.selection, window + check.window)
            shelves.append(self._kept.setdefault(kept, PastShelf(KeptPast(window + check.window))))
        return ValueLevel(check, window, tuple(shelves))


def seconds_kept(check: Check) -> int:
    """How far back samples are needed for the check's baseline; 0 without one."""
    if check.baseline is None:
        return 0
    window = check.baseline.window
    return look_back_of(window) if check.is_level else window + check.window
