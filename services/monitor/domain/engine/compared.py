"""Which groups of a trigger with a baseline have to be looked at in a block of seconds.

Nearly all of them neither breach nor did: that is found out for all groups at once, in columns, and
only the others are gone through second by second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from services.monitor.domain.engine.releases import Release
from services.monitor.domain.engine.shelves import Derived, Instance, PastShelf, Shelf
from services.monitor.domain.language.rules import Baseline, Rule
from services.monitor.domain.measuring.baselines import figure_of, relative_to
from services.monitor.domain.measuring.windows import Conditions, Findings, Floats


@dataclass(slots=True)
class Compared:
    """One trigger with a ``baseline``: its groups, each on the row of its index on ``shelf``, where the
    values come from that are compared; and their ``past``."""

    rule: Rule
    baseline: Baseline
    shelf: Shelf
    past: PastShelf
    groups: list[Derived] = field(default_factory=list)
    _of_component: dict[str, list[Instance]] = field(default_factory=dict)
    _figures: Floats | None = None

    def add(self, derived: Derived) -> None:
        self.groups.append(derived)
        self.shelf.instances.append(derived.instance)
        self._of_component.setdefault(derived.instance.of.component, []).append(derived.instance)
        self.note(derived)

    def note(self, derived: Derived) -> None:
        """The group's phase or its baseline was put in its place."""
        ((_, row),) = derived.rows
        self.shelf.note_awake(row)
        self._figures = None

    def fix(self, releases: Iterable[Release], first: int) -> None:
        """Fix what the groups of some components are compared with from second ``first`` on, at which
        their releases begin to count. A group that breaches already goes on with what it is compared
        with: a repair of a bad release is held against what was before that."""
        fixed, rows, ends = [], [], []
        for release in releases:
            for instance in self._of_component.get(release.component, ()):
                if instance.state.phase == "inactive":
                    fixed.append(instance)
                    rows.append(self.past.row(instance.of))
                    ends.append(release.second)
        for instance, values in zip(fixed, self.past.past.before(rows, ends, first), strict=True):
            instance.fix(figure_of(self.baseline, values))
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
            known = (derived.instance.baseline for derived in self.groups)
            self._figures = np.array([np.nan if figure is None else figure for figure in known])
        return self._figures
