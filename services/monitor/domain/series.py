"""Which rows of which banks a series feeds, and what is remembered of each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from services.monitor.domain.groups import Group, Labels
from services.monitor.domain.last_bank import LastBank
from services.monitor.domain.memory import Remembered
from services.monitor.domain.pane_bank import PaneBank
from services.monitor.domain.phases import INACTIVE, State
from services.monitor.domain.quantile_bank import QuantileBank
from services.monitor.domain.rate_bank import RateBank
from services.monitor.domain.rules import Aggregate, Rule
from services.monitor.domain.windows import NONE, Bank, Ints

Shape = tuple[Aggregate, int, int]
"""Aggregate, window, and the number among the triggers on one metric that share both."""
_QUANTILES: dict[Aggregate, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


@dataclass(slots=True)
class Instance:
    """One trigger on one group. ``born`` is the first second that counts a sample of it (None:
    not known, and needed only where missing data is a breach)."""

    rule: Rule
    of: Group
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
        return Remembered(self.rule, self.of, self.state, born, self.first_offset, self.last_offset)


@dataclass(slots=True)
class Shelf:
    """A bank with its instances, one a row, and the row of each series (or -1).

    ``awake`` are the rows that can change phase without a breach.
    """

    bank: Bank
    instances: list[Instance] = field(default_factory=list)
    awake: set[int] = field(default_factory=set)
    row_of_series: Ints = field(default_factory=lambda: np.full(64, -1, dtype=np.int64))

    def feed(self, series: int, row: int) -> None:
        """From now on the samples of this series count for this row."""
        if series >= len(self.row_of_series):
            larger = np.full(2 * series, -1, dtype=np.int64)
            larger[: len(self.row_of_series)] = self.row_of_series
            self.row_of_series = larger
        self.row_of_series[series] = row


class Series:
    """The series of one partition: each a metric of a component, and the values of those labels
    that a trigger on this metric looks at."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules: dict[str, list[Rule]] = {}
        for rule in rules:
            self._rules.setdefault(rule.metric, []).append(rule)
        self._labels = {
            metric: tuple(sorted(frozenset[str]().union(*(rule.selection.labels for rule in of_metric))))
            for metric, of_metric in self._rules.items()
        }
        self._ids: dict[tuple[str, str, tuple[str, ...]], int] = {}
        # Two triggers of one shape on one metric need two rows for one series: the second one
        # gets a shelf of its own.
        self._shelves: dict[Shape, Shelf] = {}
        self._places: dict[tuple[str, Group], tuple[Shelf, int]] = {}

    @property
    def shelves(self) -> Iterable[Shelf]:
        return self._shelves.values()

    @property
    def widest_window(self) -> int:
        return max((rule.window for rules in self._rules.values() for rule in rules), default=0)

    def looks_at(self, metric: str) -> bool:
        return metric in self._rules

    def reads_labels_of(self, metric: str) -> bool:
        """Whether the number of a series of this metric depends on the sample's labels."""
        return bool(self._labels.get(metric))

    def id_of(self, metric: str, component: str, labels: Labels | None = None) -> int:
        """The number of a series, which is made known if it is new. Only for metrics that a
        trigger looks at."""
        names = self._labels[metric]
        values = tuple((labels or {}).get(name, "") for name in names)
        known = self._ids.get((metric, component, values))
        if known is not None:
            return known
        number = len(self._ids)
        self._ids[metric, component, values] = number
        of_series = dict(zip(names, values, strict=True))
        for rule, shape in self._shapes_of(metric):
            group = rule.selection.group_of(component, of_series)
            if group is not None:
                shelf, row = self._place(rule, shape, group)
                shelf.feed(number, row)
        return number

    def _shapes_of(self, metric: str) -> Iterator[tuple[Rule, Shape]]:
        """The rules on this metric, each with the shelf that its rows are on."""
        used: dict[tuple[Aggregate, int], int] = {}
        for rule in self._rules.get(metric, ()):
            shape = (rule.aggregate, rule.window)
            layer = used[shape] = used.get(shape, -1) + 1
            yield rule, (*shape, layer)

    def _place(self, rule: Rule, shape: Shape, group: Group) -> tuple[Shelf, int]:
        """The row of a rule's group, and its shelf; both are made if there are none."""
        place = self._places.get((rule.hash, group))
        if place is not None:
            return place
        shelf = self._shelves.get(shape)
        if shelf is None:
            aggregate, window, _ = shape
            shelf = self._shelves[shape] = Shelf(_bank(aggregate, window))
        row = shelf.bank.add_row(rule.when, rule.clear)
        instance = Instance(rule, group)
        shelf.instances.append(instance)
        self._places[rule.hash, group] = (shelf, row)
        if instance.watches_absence:
            shelf.awake.add(row)
        return shelf, row

    def instances(self) -> Iterator[Instance]:
        for shelf in self._shelves.values():
            yield from shelf.instances

    def recall(self, remembered: Remembered) -> bool:
        """Put a remembered phase back in its place; False where its definition is no more."""
        known = {rule.hash: (rule, shape) for rule, shape in self._shapes_of(remembered.rule.metric)}
        if remembered.rule.hash not in known:
            return False
        shelf, row = self._place(*known[remembered.rule.hash], remembered.of)
        instance = shelf.instances[row]
        instance.state = remembered.state
        instance.born = remembered.born
        instance.first_offset = remembered.first_offset
        instance.last_offset = remembered.last_offset
        shelf.awake.add(row)
        return True


def _bank(aggregate: Aggregate, window: int) -> Bank:
    match aggregate:
        case "last":
            return LastBank(window)
        case "rate":
            return RateBank(window)
        case "p50" | "p90" | "p95" | "p99":
            return QuantileBank(window, _QUANTILES[aggregate])
    return PaneBank(window, aggregate)
