"""Where the values of triggers come from: banks with a row for each group, and who is on which row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.monitor.domain.engine.memory import Remembered
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.phases import INACTIVE, State
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.baselines import Past
from services.monitor.domain.measuring.columns import Pending
from services.monitor.domain.measuring.feeds import Feed
from services.monitor.domain.measuring.lane_bank import LaneBank
from services.monitor.domain.measuring.value_past import ValuePast
from services.monitor.domain.measuring.windows import NONE, Bank, Findings

AnyPast = TypeVar("AnyPast", Past, ValuePast)
Figures = tuple[float | None, ...]


@dataclass(slots=True)
class Instance:
    """One trigger on one group. ``born`` is the first second that counts a sample of it (None:
    not known, and needed only where missing data is a breach). ``figures`` are what the values of the
    trigger's checks are compared with: None for one that is not, or for which no release has fixed any.
    ``noted`` is where instances that have changed are listed, each once: of many thousands a few have."""

    rule: Rule
    of: Group
    state: State = INACTIVE
    born: int | None = None
    first_offset: int = NONE
    last_offset: int = NONE
    figures: Figures = ()
    noted: list[Instance] = field(default_factory=list, repr=False, compare=False)
    changed: bool = False

    def __post_init__(self) -> None:
        self.figures = self.figures or (None,) * len(self.rule.checks)

    def note_change(self) -> None:
        """What is remembered of it is no longer what was written."""
        if not self.changed:
            self.changed = True
            self.noted.append(self)

    def move_to(self, state: State) -> None:
        """Its state is this one now."""
        if state != self.state:
            self.state = state
            self.note_change()

    @property
    def watches_absence(self) -> bool:
        return self.rule.terms.no_data == "breach"

    @property
    def is_awake(self) -> bool:
        """Whether it can change its phase without a breach."""
        return self.state.phase != "inactive" or self.watches_absence

    @property
    def must_be_remembered(self) -> bool:
        return self.is_awake or any(figure is not None for figure in self.figures)

    @property
    def can_breach(self) -> bool:
        """Whether the checks that have something to be compared with, or need nothing, can make a breach:
        one that has not is clear at every second."""
        checks = zip(self.rule.checks, self.figures, strict=True)
        able = (check.baseline is None or figure is not None for check, figure in checks)
        return all(able) if self.rule.join == "all" else any(able)

    def fix(self, figures: Figures) -> None:
        if figures != self.figures:
            self.figures = figures
            self.note_change()

    def remembered(self) -> Remembered:
        born = 0 if self.born is None else self.born
        return Remembered(
            self.rule, self.of, self.state, born, self.first_offset, self.last_offset, self.figures
        )


@dataclass(slots=True)
class Shelf:
    """A bank with its instances, one a row, and what its rows are fed by.

    A lane's samples count for all rows of the lane; in a bank without lanes each row is fed by
    itself. ``awake`` are the rows that can change phase without a breach. ``swept``: whether all its
    rows can be swept, in an engine that sweeps; those that can't are never on the same shelf.
    """

    bank: Bank | LaneBank
    feed: Feed
    swept: bool = False
    instances: list[Instance] = field(default_factory=list)
    awake: set[int] = field(default_factory=set)
    _rows_of: dict[int, list[int]] = field(default_factory=dict)

    def add_row(self, when: Condition, clear: Condition | None, lane: int) -> int:
        """``lane`` matters only to a bank that has lanes."""
        if isinstance(self.bank, LaneBank):
            row = self.bank.add_row(when, clear, lane)
        else:
            row = self.bank.add_row(when, clear)
        self._rows_of.setdefault(self.place(row), []).append(row)
        return row

    def place(self, row: int) -> int:
        """What the feed knows the row by: its lane or itself."""
        return self.bank.lane_of(row) if isinstance(self.bank, LaneBank) else row

    def rows_of(self, series: int) -> Sequence[int]:
        """The rows that the samples of a series count for."""
        place = self.feed.row(series)
        return () if place is None else self._rows_of.get(place, ())

    def note_awake(self, row: int) -> None:
        """Keep ``awake`` right after the row was stepped."""
        if self.instances[row].is_awake:
            self.awake.add(row)
        else:
            self.awake.discard(row)

    def restore(self, samples: Pending, through: int) -> None:
        """Fold in samples that were counted already; lanes take theirs in by themselves."""
        if not isinstance(self.bank, LaneBank):
            visible = self.feed.visible(samples)
            if len(visible.row):
                self.bank.restore(visible, through)

    def find(self, samples: Pending, first: int, last: int, *, every_row: bool = False) -> Findings:
        """Evaluate the seconds ``first`` to ``last``, in which ``samples`` become visible, and of
        which the lanes were told. Rows at which nothing can happen may be left out, unless somebody
        wants to know ``every_row``'s values."""
        if isinstance(self.bank, LaneBank):
            return self.bank.find(self.awake if self.instances and not every_row else None)
        return self.bank.fold(self.feed.visible(samples), first, last)


@dataclass(slots=True)
class PastShelf(Generic[AnyPast]):
    """What baselines are worked out from: the past of each group."""

    past: AnyPast
    feed: Feed = field(default_factory=Feed)
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
