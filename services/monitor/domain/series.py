"""Which rows of which banks a series feeds, and what is remembered of each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from services.monitor.domain.last_bank import LastBank
from services.monitor.domain.memory import Remembered
from services.monitor.domain.pane_bank import PaneBank
from services.monitor.domain.phases import INACTIVE, State
from services.monitor.domain.quantile_bank import QuantileBank
from services.monitor.domain.rules import Aggregate, Rule
from services.monitor.domain.sweep import can_be_swept
from services.monitor.domain.windows import NONE, Bank, Ints

_P95 = 0.95


@dataclass(slots=True)
class Instance:
    """One trigger on one component. ``born`` is the first second that counts a sample of it (None:
    not known, and needed only where missing data is a breach)."""

    rule: Rule
    component: str
    state: State = INACTIVE
    born: int | None = None
    first_offset: int = NONE
    last_offset: int = NONE
    changed: bool = False

    @property
    def watches_absence(self) -> bool:
        return self.rule.terms.no_data == "breach"

    @property
    def must_be_remembered(self) -> bool:
        return self.state.phase != "inactive" or self.watches_absence

    def remembered(self) -> Remembered:
        born = 0 if self.born is None else self.born
        return Remembered(self.rule, self.component, self.state, born, self.first_offset, self.last_offset)


@dataclass(slots=True)
class Shelf:
    """A bank with its instances, one a row, and the row of each series (or -1).

    ``awake`` are the rows that can change phase without a breach. ``swept``: whether all its rows can
    be swept, in an engine that sweeps; those that can't are never on the same shelf.
    """

    bank: Bank
    instances: list[Instance] = field(default_factory=list)
    awake: set[int] = field(default_factory=set)
    row_of_series: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    swept: bool = False

    def note_awake(self, row: int) -> None:
        """Keep ``awake`` right after the row was stepped."""
        if self.instances[row].must_be_remembered:
            self.awake.add(row)
        else:
            self.awake.discard(row)


class Series:
    """The series of one partition: each a metric of a component that some trigger looks at."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules: dict[str, list[Rule]] = {}
        for rule in rules:
            self._rules.setdefault(rule.metric, []).append(rule)
        self._ids: dict[tuple[str, str], int] = {}
        # Two triggers of one shape on one metric need two rows for one series: the second one
        # gets a shelf of its own.
        self._shelves: dict[tuple[Aggregate, int, int, bool], Shelf] = {}
        self._places: dict[tuple[str, str], tuple[Shelf, int]] = {}

    @property
    def shelves(self) -> Iterable[Shelf]:
        return self._shelves.values()

    @property
    def widest_window(self) -> int:
        return max((rule.window for rules in self._rules.values() for rule in rules), default=0)

    def looks_at(self, metric: str) -> bool:
        return metric in self._rules

    def id_of(self, metric: str, component: str) -> int:
        """The number of a series, which is made known if it is new. Only for metrics that a
        trigger looks at."""
        known = self._ids.get((metric, component))
        if known is not None:
            return known
        number = len(self._ids)
        self._ids[metric, component] = number
        used: dict[tuple[Aggregate, int, bool], int] = {}
        for rule in self._rules[metric]:
            shape = (rule.aggregate, rule.window, can_be_swept(rule))
            layer = used[shape] = used.get(shape, -1) + 1
            self._add_row(self._shelf(*shape, layer), rule, component, number)
        return number

    def names(self) -> dict[int, tuple[str, str]]:
        """Metric and component of each known series, by its number."""
        return {number: name for name, number in self._ids.items()}

    def instances(self) -> Iterator[Instance]:
        for shelf in self._shelves.values():
            yield from shelf.instances

    def recall(self, remembered: Remembered) -> bool:
        """Put a remembered phase back in its place; False where its definition is no more."""
        rule = remembered.rule
        if not any(known.hash == rule.hash for known in self._rules.get(rule.metric, ())):
            return False
        self.id_of(rule.metric, remembered.component)
        shelf, row = self._places[rule.hash, remembered.component]
        instance = shelf.instances[row]
        instance.state = remembered.state
        instance.born = remembered.born
        instance.first_offset = remembered.first_offset
        instance.last_offset = remembered.last_offset
        shelf.awake.add(row)
        return True

    def _shelf(self, aggregate: Aggregate, window: int, swept: bool, layer: int) -> Shelf:
        place = (aggregate, window, layer, swept)
        shelf = self._shelves.get(place)
        if shelf is None:
            shelf = self._shelves[place] = Shelf(_bank(aggregate, window), swept=swept)
        return shelf

    def _add_row(self, shelf: Shelf, rule: Rule, component: str, number: int) -> None:
        row = shelf.bank.add_row(rule.when, rule.clear)
        instance = Instance(rule, component)
        shelf.instances.append(instance)
        self._places[rule.hash, component] = (shelf, row)
        if instance.watches_absence:
            shelf.awake.add(row)
        if number >= len(shelf.row_of_series):
            larger = np.full(max(64, 2 * number), -1, dtype=np.int64)
            larger[: len(shelf.row_of_series)] = shelf.row_of_series
            shelf.row_of_series = larger
        shelf.row_of_series[number] = row


def _bank(aggregate: Aggregate, window: int) -> Bank:
    if aggregate == "last":
        return LastBank(window)
    if aggregate == "p95":
        return QuantileBank(window, _P95)
    return PaneBank(window, aggregate)
