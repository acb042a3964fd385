"""Triggers that are compared with what was before a release: what with, and which to look at.

A release fixes what the groups of its component are compared with. Nearly all groups of a trigger on
a single value neither breach nor did: that is found out for all of them at once, in columns, and
only the others are gone through second by second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.monitor.domain.engine.pasts import Level
from services.monitor.domain.engine.releases import Release
from services.monitor.domain.engine.shelves import Derived, Instance, Shelf
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.baselines import baselines_of, relative_to
from services.monitor.domain.measuring.windows import Conditions, Findings, Floats


def is_single_compared(rule: Rule) -> bool:
    """Whether all that decides is one aggregate, compared with what was before."""
    return rule.baseline is not None and rule.to is None and not rule.further


@dataclass(slots=True)
class Compared:
    """One trigger with a baseline and its groups. ``levels`` are the pasts of its checks, None for one
    that is compared with nothing."""

    rule: Rule
    levels: tuple[Level | None, ...]
    _of_component: dict[str, list[Instance]] = field(default_factory=dict)

    def add(self, derived: Derived) -> None:
        self._of_component.setdefault(derived.instance.of.component, []).append(derived.instance)

    def feed(self, series: int, metric: str, derived: Derived) -> None:
        """From now on the samples of this series, one of the metric, are the group's."""
        for check, level in zip(self.rule.checks, self.levels, strict=True):
            if level is not None and metric in check.metrics:
                level.feed(series, metric, derived.instance.of)

    @property
    def is_drawn(self) -> bool:
        """Whether what a group is compared with next may be an estimate, from a draw of the samples."""
        return any(level is not None and level.is_drawn for level in self.levels)

    def fix(self, releases: Iterable[Release], first: int) -> None:
        """Fix what the groups of some components are compared with from second ``first`` on, at which
        their releases begin to count. A group that breaches already goes on with what it is compared
        with: a repair of a bad release is held against what was before that."""
        fixed, ends = [], []
        for release in releases:
            for instance in self._of_component.get(release.component, ()):
                if instance.state.phase == "inactive":
                    fixed.append(instance)
                    ends.append(release.second)
        if not fixed:
            return
        of_checks = [self._figures(index, fixed, ends, first) for index in range(len(self.levels))]
        for instance, *figures in zip(fixed, *of_checks, strict=True):
            instance.fix(tuple(figures))

    def _figures(
        self, index: int, instances: Sequence[Instance], ends: Sequence[int], first: int
    ) -> list[float | None]:
        """What each instance is compared with by one of the checks."""
        level, baseline = self.levels[index], self.rule.checks[index].baseline
        if level is None or baseline is None:
            return [None] * len(instances)
        return baselines_of(baseline, level.before([instance.of for instance in instances], ends, first))


@dataclass(slots=True)
class SingleCompared:
    """The groups of a trigger that has one value, each on the row of its index on ``shelf``, where the
    values come from that are compared."""

    rule: Rule
    shelf: Shelf
    groups: list[Derived] = field(default_factory=list)
    _figures: Floats | None = None

    def add(self, derived: Derived) -> None:
        self.groups.append(derived)
        self.shelf.instances.append(derived.instance)
        self.note(derived)

    def note(self, derived: Derived) -> None:
        """The group's phase or its baseline was put in its place."""
        ((_, row),) = derived.rows
        self.shelf.note_awake(row)
        self.forget_figures()

    def forget_figures(self) -> None:
        """A release may have fixed others."""
        self._figures = None

    def due(self, findings: Findings) -> list[tuple[int, Derived]]:
        """The rows that breach at some second, and those that can change their phase without."""
        of_row, values = findings.readings()
        relative = relative_to(self._known_figures()[of_row], values)
        when = Conditions()
        when.add(self.rule.when)
        breaching = of_row[when.of_rows(np.zeros(len(of_row), dtype=np.int64), relative)]
        rows = self.shelf.awake.union(np.unique(breaching).tolist())
        return [(row, self.groups[row]) for row in sorted(rows)]

    def _known_figures(self) -> Floats:
        if self._figures is None:
            known = (derived.instance.figures[0] for derived in self.groups)
            self._figures = np.array([np.nan if figure is None else figure for figure in known])
        return self._figures
