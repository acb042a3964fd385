"""What groups were like before a release: the samples that are kept for it, shared by all triggers.

Where a check's value is of the size of its samples (a mean, a percentile), it is compared with the
samples themselves, of which a draw does. Any other value (a ratio, a rate, a sum) is compared with
what the same value was, for which its aggregate says what is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.monitor.domain.engine.shelves import PastShelf
from services.monitor.domain.language.aggregates import Aggregate
from services.monitor.domain.language.groups import Group, Selection
from services.monitor.domain.language.rules import Baseline, Check, Rule
from services.monitor.domain.measuring.baselines import Past, look_back_of
from services.monitor.domain.measuring.registry import REGISTRY
from services.monitor.domain.measuring.value_past import (
    Found,
    ValuePast,
    cell_seconds,
    values_before,
)
from services.monitor.domain.measuring.windows import Ints


class Level(Protocol):
    """The past of one check's groups."""

    def feed(self, series: int, metric: str, of: Group) -> None:
        """From now on the samples of this series count for the group."""
        ...

    def before(self, groups: Sequence[Group], releases: Sequence[int], first: int) -> Found:
        """The values before the second of each group's release, which counts from ``first`` on."""
        ...

    @property
    def is_drawn(self) -> bool:
        """Whether samples that may be asked for were left out, so that a baseline is an estimate."""
        ...


@dataclass(frozen=True, slots=True)
class SampleLevel:
    """Of a check that is compared with its samples."""

    shelf: PastShelf[Past]

    def feed(self, series: int, metric: str, of: Group) -> None:
        self.shelf.feed.add(series, self.shelf.row(of))

    def before(self, groups: Sequence[Group], releases: Sequence[int], first: int) -> Found:
        return self.shelf.past.before(_rows(self.shelf, groups), releases, first)

    @property
    def is_drawn(self) -> bool:
        return self.shelf.past.is_drawn


@dataclass(frozen=True, slots=True)
class ValueLevel:
    """Of a check that is compared with the values that it had; a shelf for each of its metrics."""

    check: Check
    window: int
    shelves: tuple[PastShelf[ValuePast], ...]

    def feed(self, series: int, metric: str, of: Group) -> None:
        for name, shelf in zip(self.check.metrics, self.shelves, strict=True):
            if name == metric:
                shelf.feed.add(series, shelf.row(of))

    def before(self, groups: Sequence[Group], releases: Sequence[int], first: int) -> Found:
        pasts = [(shelf.past, _rows(shelf, groups)) for shelf in self.shelves]
        return values_before(self.window, self.check.window, pasts, releases, first)

    @property
    def is_drawn(self) -> bool:
        return any(shelf.past.is_drawn for shelf in self.shelves)


class Pasts:
    """The pasts of one partition. Triggers that look at the same samples share one."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[str, Selection, int], PastShelf[Past]] = {}
        self._of_values: dict[tuple[str, Selection, Aggregate, int, int], PastShelf[ValuePast]] = {}

    @property
    def shelves(self) -> Iterable[PastShelf[Past] | PastShelf[ValuePast]]:
        return (*self._drawn.values(), *self._of_values.values())

    def level(self, rule: Rule, check: Check, baseline: Baseline) -> Level:
        """Where the values come from that a check of the rule is compared with."""
        window = baseline.window
        if check.is_level:
            key = (check.metric, rule.selection, window)
            return SampleLevel(self._drawn.setdefault(key, PastShelf(Past(window))))
        shelves = []
        for metric in check.metrics:
            place = (metric, rule.selection, check.aggregate, check.window, window)
            if place not in self._of_values:
                past = REGISTRY[check.aggregate].past(check.window, window + check.window)
                self._of_values[place] = PastShelf(past)
            shelves.append(self._of_values[place])
        return ValueLevel(check, window, tuple(shelves))


def seconds_kept(check: Check) -> int:
    """How far back samples are needed for the check's baseline; 0 without one. What is drawn is drawn of
    cells as a whole."""
    if check.baseline is None:
        return 0
    window = check.baseline.window
    if check.is_level:
        return look_back_of(window)
    return window + check.window + cell_seconds(window + check.window)


def _rows(shelf: PastShelf[Past] | PastShelf[ValuePast], groups: Sequence[Group]) -> Ints:
    return np.array([shelf.row(of) for of in groups], dtype=np.int64)
