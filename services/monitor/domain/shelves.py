"""Where the values of triggers come from: banks with a row for each group, and who is on which row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from services.monitor.domain.baselines import Past
from services.monitor.domain.columns import Pending
from services.monitor.domain.groups import Group
from services.monitor.domain.memory import Remembered
from services.monitor.domain.phases import INACTIVE, State
from services.monitor.domain.rules import Rule
from services.monitor.domain.windows import NONE, Bank, Ints, Visible


@dataclass(slots=True)
class Instance:
    """One trigger on one group. ``born`` is the first second that counts a sample of it (None:
    not known, and needed only where missing data is a breach). ``baseline`` is what the trigger's
    value is compared with, if it is, and if a release has fixed it."""

    rule: Rule
    of: Group
    state: State = INACTIVE
    born: int | None = None
    first_offset: int = NONE
    last_offset: int = NONE
    baseline: float | None = None
    changed: bool = False

    @property
    def watches_absence(self) -> bool:
        return self.rule.terms.no_data == "breach"

    @property
    def is_awake(self) -> bool:
        """Whether it can change its phase without a breach."""
        return self.state.phase != "inactive" or self.watches_absence

    @property
    def must_be_remembered(self) -> bool:
        return self.is_awake or self.baseline is not None

    def fix(self, baseline: float | None) -> None:
        self.changed = self.changed or baseline != self.baseline
        self.baseline = baseline

    def remembered(self) -> Remembered:
        born = 0 if self.born is None else self.born
        return Remembered(
            self.rule, self.of, self.state, born, self.first_offset, self.last_offset, self.baseline
        )


@dataclass(slots=True, kw_only=True)
class Feed:
    """The row of each series, or -1."""

    row_of_series: Ints = field(default_factory=lambda: np.full(64, -1, dtype=np.int64))

    def feed(self, series: int, row: int) -> None:
        """From now on the samples of this series count for this row."""
        if series >= len(self.row_of_series):
            larger = np.full(2 * series, -1, dtype=np.int64)
            larger[: len(self.row_of_series)] = self.row_of_series
            self.row_of_series = larger
        self.row_of_series[series] = row

    def rows(self, series: Ints) -> Ints:
        """The row of each sample's series, or -1."""
        rows = self.row_of_series
        known = series < len(rows)
        return rows[series] if known.all() else np.where(known, rows[np.minimum(series, len(rows) - 1)], -1)

    def visible(self, samples: Pending) -> Visible:
        """Those of the samples that have a row here."""
        row = self.rows(samples.series)
        visible = Visible(row, samples.second, samples.first, samples.time, samples.value, samples.offset)
        return visible if not len(row) or row.min() >= 0 else visible.only(row >= 0)


@dataclass(slots=True)
class Shelf(Feed):
    """A bank with its instances, one a row.

    ``awake`` are the rows that can change phase without a breach. ``swept``: whether all its rows can
    be swept, in an engine that sweeps; those that can't are never on the same shelf.
    """

    bank: Bank
    instances: list[Instance] = field(default_factory=list)
    awake: set[int] = field(default_factory=set)
    swept: bool = False

    def note_awake(self, row: int) -> None:
        """Keep ``awake`` right after the row was stepped."""
        if self.instances[row].is_awake:
            self.awake.add(row)
        else:
            self.awake.discard(row)


@dataclass(slots=True)
class PastShelf(Feed):
    """What baselines are worked out from: the past of each group."""

    past: Past
    row_of_group: dict[Group, int] = field(default_factory=dict)

    def row(self, of: Group) -> int:
        """The row of a group, which is made if there is none."""
        return self.row_of_group.setdefault(of, len(self.row_of_group))


@dataclass(frozen=True, slots=True)
class Derived:
    """A trigger on a group that more than one value, or a release, decides: for each of its checks the
    rows, on shelves of inputs, that the values come from."""

    instance: Instance
    places: tuple[tuple[tuple[Shelf, int], ...], ...]

    @property
    def rows(self) -> Iterator[tuple[Shelf, int]]:
        for places in self.places:
            yield from places
