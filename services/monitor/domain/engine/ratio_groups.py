"""Triggers on a ratio, for many groups: which of them to look at.

The two values of each group are divided second by second, and compared with what was before a release, if
that is asked for. Nearly all groups neither breach nor did. In a block of one second, as they are live,
that is found out for all groups at once, in columns; only the others are gone through by themselves.
In longer blocks, as they are when much is read at once, all are: it is the number of blocks that costs then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from services.monitor.domain.engine.shelves import Derived, Shelf
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.baselines import relative_to
from services.monitor.domain.measuring.windows import Conditions, Findings, Floats, Ints

_FEW = 8
"""So few groups are looked at one by one."""


def is_single_ratio(rule: Rule) -> bool:
    """Whether all that decides is one ratio."""
    return rule.to is not None and not rule.further


class Found:
    """What the banks found in a block, by shelf."""

    def __init__(self, found: Mapping[int, Findings], *, is_one_second: bool) -> None:
        self.by_shelf = found
        self.is_one_second = is_one_second
        self._columns: dict[int, Floats] = {}

    def column(self, shelf: Shelf) -> Floats:
        """The value of each row of the shelf in a block of one second; NaN without data."""
        known = self._columns.get(id(shelf))
        if known is None:
            row, value = self.by_shelf[id(shelf)].readings()
            known = self._columns[id(shelf)] = np.full(shelf.bank.rows, np.nan)
            known[row] = value
        return known


@dataclass(slots=True)
class RatioGroups:
    """The groups of a trigger on one ratio. ``awake`` are those that can change their phase without a
    breach, by their place among the groups."""

    rule: Rule
    groups: list[Derived] = field(default_factory=list)
    awake: set[int] = field(default_factory=set)
    components: set[str] = field(default_factory=set)
    _place_of: dict[int, int] = field(default_factory=dict)
    _rows: tuple[Ints, Ints] | None = None
    _figures: Floats | None = None

    def add(self, derived: Derived) -> None:
        self._place_of[id(derived)] = len(self.groups)
        self.groups.append(derived)
        self.components.add(derived.instance.of.component)
        self._rows = None
        self.note(derived)

    def note(self, derived: Derived) -> None:
        """The group's phase or its baseline was put in its place."""
        self._figures = None
        self.note_awake(derived)

    def note_awake(self, derived: Derived) -> None:
        """Keep ``awake`` right after the group was stepped."""
        place = self._place_of[id(derived)]
        if derived.instance.is_awake:
            self.awake.add(place)
        else:
            self.awake.discard(place)

    def forget_figures(self) -> None:
        """A release may have fixed others."""
        self._figures = None

    def due(self, found: Found, is_open: bool) -> Iterable[Derived]:
        """The groups that breach, and those that can change their phase without; others may be among them.
        Unless ``is_open``, no release leaves room for a breach."""
        if len(self.groups) <= _FEW or not found.is_one_second:
            return self.groups
        places = self.awake.union(self._breaching(found) if is_open and self._may_breach() else ())
        return [self.groups[place] for place in sorted(places)]

    def _may_breach(self) -> bool:
        """Whether there is anything to compare with, if that is needed."""
        return not self.rule.has_baseline or not np.isnan(self._known_figures()).all()

    def _breaching(self, found: Found) -> list[int]:
        ((of, _), (to, _)) = self.groups[0].rows
        of_rows, to_rows = self._known_rows()
        value, divisor = found.column(of)[of_rows], found.column(to)[to_rows]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value = np.where(divisor != 0.0, value / divisor, np.nan)
        if self.rule.has_baseline:
            value = relative_to(self._known_figures(), value)
        when = Conditions()
        when.add(self.rule.when)
        breaching = when.of_rows(np.zeros(len(value), dtype=np.int64), value) & np.isfinite(value)
        places: list[int] = np.flatnonzero(breaching).tolist()
        return places

    def _known_rows(self) -> tuple[Ints, Ints]:
        """The rows of each group's two values; of all groups they are on the same two shelves."""
        if self._rows is None:
            rows = np.array([[row for _, row in derived.rows] for derived in self.groups])
            self._rows = rows[:, 0], rows[:, 1]
        return self._rows

    def _known_figures(self) -> Floats:
        if self._figures is None:
            known = (derived.instance.figures[0] for derived in self.groups)
            self._figures = np.array([np.nan if figure is None else figure for figure in known])
        return self._figures
