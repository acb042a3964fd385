"""Which rows of which banks a series feeds, and what is remembered of each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from services.monitor.domain.derived import ANY_VALUE
from services.monitor.domain.groups import Group, Labels
from services.monitor.domain.last_bank import LastBank
from services.monitor.domain.memory import Remembered
from services.monitor.domain.pane_bank import PaneBank
from services.monitor.domain.phases import INACTIVE, State
from services.monitor.domain.quantile_bank import QuantileBank
from services.monitor.domain.rate_bank import RateBank
from services.monitor.domain.rules import QUANTILES, Aggregate, Rule
from services.monitor.domain.sweep import can_be_swept
from services.monitor.domain.windows import NONE, Bank, Ints

Shape = tuple[Aggregate, int, bool, int]
"""Aggregate, window, whether it can be swept, and the number among the triggers on one metric that
share all three."""


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

    ``awake`` are the rows that can change phase without a breach. ``swept``: whether all its rows can
    be swept, in an engine that sweeps; those that can't are never on the same shelf.
    """

    bank: Bank
    instances: list[Instance] = field(default_factory=list)
    awake: set[int] = field(default_factory=set)
    row_of_series: Ints = field(default_factory=lambda: np.full(64, -1, dtype=np.int64))
    swept: bool = False

    def note_awake(self, row: int) -> None:
        """Keep ``awake`` right after the row was stepped."""
        if self.instances[row].must_be_remembered:
            self.awake.add(row)
        else:
            self.awake.discard(row)

    def feed(self, series: int, row: int) -> None:
        """From now on the samples of this series count for this row."""
        if series >= len(self.row_of_series):
            larger = np.full(2 * series, -1, dtype=np.int64)
            larger[: len(self.row_of_series)] = self.row_of_series
            self.row_of_series = larger
        self.row_of_series[series] = row


class SeriesName(NamedTuple):
    """``labels`` are those that a trigger on the metric looks at."""

    metric: str
    component: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class Derived:
    """A trigger on a group that more than one value decides: for each of its checks the rows, on
    shelves of inputs, that the values come from."""

    instance: Instance
    places: tuple[tuple[tuple[Shelf, int], ...], ...]

    @property
    def rows(self) -> Iterator[tuple[Shelf, int]]:
        for places in self.places:
            yield from places


class Series:
    """The series of one partition: each a metric of a component, and the values of those labels
    that a trigger on this metric looks at."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules: dict[str, list[Rule]] = {}
        self._derived_rules: dict[str, list[Rule]] = {}
        for rule in rules:
            known = self._derived_rules if rule.is_derived else self._rules
            for metric in sorted(rule.metrics):
                known.setdefault(metric, []).append(rule)
        self._labels = {metric: self._labels_of(metric) for metric in (*self._rules, *self._derived_rules)}
        self._ids: dict[tuple[str, str, tuple[str, ...]], int] = {}
        # Two triggers of one shape on one metric need two rows for one series: the second one
        # gets a shelf of its own.
        self._shelves: dict[Shape, Shelf] = {}
        self._places: dict[tuple[str, Group], tuple[Shelf, int]] = {}
        self._inputs: dict[tuple[str, int, int], Shelf] = {}
        self._derived: dict[tuple[str, Group], Derived] = {}

    @property
    def shelves(self) -> Iterable[Shelf]:
        """The banks whose rows are triggers."""
        return self._shelves.values()

    def shelved(self, *, sweeping: bool) -> tuple[list[Shelf], list[Shelf]]:
        """Those that are swept, if any are, and those that are evaluated at each second."""
        every = list(self._shelves.values())
        if not sweeping:
            return [], every
        return [shelf for shelf in every if shelf.swept], [shelf for shelf in every if not shelf.swept]

    @property
    def inputs(self) -> Iterable[Shelf]:
        """The banks whose rows are values of derived triggers."""
        return self._inputs.values()

    @property
    def all_shelves(self) -> Iterable[Shelf]:
        return (*self._shelves.values(), *self._inputs.values())

    @property
    def derived(self) -> Iterable[Derived]:
        return self._derived.values()

    @property
    def size(self) -> int:
        """How many instances there are: triggers, each on its groups."""
        return sum(len(shelf.instances) for shelf in self.shelves) + sum(1 for _ in self.derived)

    @property
    def widest_window(self) -> int:
        every = (*self._rules.values(), *self._derived_rules.values())
        return max((check.window for rules in every for rule in rules for check in rule.checks), default=0)

    def _labels_of(self, metric: str) -> tuple[str, ...]:
        looking = (*self._rules.get(metric, ()), *self._derived_rules.get(metric, ()))
        return tuple(sorted(frozenset[str]().union(*(rule.selection.labels for rule in looking))))

    def looks_at(self, metric: str) -> bool:
        return metric in self._labels

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
        for rule in self._derived_rules.get(metric, ()):
            group = rule.selection.group_of(component, of_series)
            if group is not None:
                self._feed(number, metric, self._derive(rule, group))
        return number

    @staticmethod
    def _feed(number: int, metric: str, derived: Derived) -> None:
        for check, places in zip(derived.instance.rule.checks, derived.places, strict=True):
            for name, (shelf, row) in zip(check.metrics, places, strict=True):
                if name == metric:
                    shelf.feed(number, row)

    def _derive(self, rule: Rule, group: Group) -> Derived:
        """The derived trigger of a group, which is made, with the rows of its values, if it is new."""
        known = self._derived.get((rule.hash, group))
        if known is None:
            places = tuple(
                tuple(self._add_input(rule, index, part) for part in range(len(check.metrics)))
                for index, check in enumerate(rule.checks)
            )
            known = self._derived[rule.hash, group] = Derived(Instance(rule, group), places)
        return known

    def _add_input(self, rule: Rule, index: int, part: int) -> tuple[Shelf, int]:
        """A row for one value; every value of every rule has a shelf, so that no series needs two rows
        of one."""
        check = rule.checks[index]
        place = (rule.hash, index, part)
        shelf = self._inputs.get(place)
        if shelf is None:
            shelf = self._inputs[place] = Shelf(_bank(check.aggregate, check.window))
        if check.to is None:
            return shelf, shelf.bank.add_row(check.when, check.clear)
        return shelf, shelf.bank.add_row(ANY_VALUE, None)

    def _shapes_of(self, metric: str) -> Iterator[tuple[Rule, Shape]]:
        """The rules on this metric, each with the shelf that its rows are on."""
        used: dict[tuple[Aggregate, int, bool], int] = {}
        for rule in self._rules.get(metric, ()):
            # Where labels are read, several series may feed one row.
            swept = not self._labels[metric] and can_be_swept(rule)
            shape = (rule.aggregate, rule.window, swept)
            layer = used[shape] = used.get(shape, -1) + 1
            yield rule, (*shape, layer)

    def _place(self, rule: Rule, shape: Shape, group: Group) -> tuple[Shelf, int]:
        """The row of a rule's group, and its shelf; both are made if there are none."""
        place = self._places.get((rule.hash, group))
        if place is not None:
            return place
        shelf = self._shelves.get(shape)
        if shelf is None:
            aggregate, window, swept, _ = shape
            shelf = self._shelves[shape] = Shelf(_bank(aggregate, window), swept=swept)
        row = shelf.bank.add_row(rule.when, rule.clear)
        instance = Instance(rule, group)
        shelf.instances.append(instance)
        self._places[rule.hash, group] = (shelf, row)
        if instance.watches_absence:
            shelf.awake.add(row)
        return shelf, row

    def names(self) -> dict[int, SeriesName]:
        """The name of each known series, by its number."""
        return {
            number: SeriesName(metric, component, dict(zip(self._labels[metric], values, strict=True)))
            for (metric, component, values), number in self._ids.items()
        }

    def instances(self) -> Iterator[Instance]:
        for shelf in self._shelves.values():
            yield from shelf.instances
        for derived in self._derived.values():
            yield derived.instance

    def recall(self, remembered: Remembered) -> bool:
        """Put a remembered phase back in its place; False where its definition is no more."""
        instance = self._recalled(remembered.rule, remembered.of)
        if instance is None:
            return False
        instance.state = remembered.state
        instance.born = remembered.born
        instance.first_offset = remembered.first_offset
        instance.last_offset = remembered.last_offset
        return True

    def _recalled(self, rule: Rule, group: Group) -> Instance | None:
        for known in self._derived_rules.get(rule.metric, ()):
            if known.hash == rule.hash:
                return self._derive(known, group).instance
        for known, shape in self._shapes_of(rule.metric):
            if known.hash == rule.hash:
                shelf, row = self._place(known, shape, group)
                shelf.awake.add(row)
                return shelf.instances[row]
        return None


def _bank(aggregate: Aggregate, window: int) -> Bank:
    match aggregate:
        case "last":
            return LastBank(window)
        case "rate":
            return RateBank(window)
        case "p50" | "p90" | "p95" | "p99":
            return QuantileBank(window, QUANTILES[aggregate])
    return PaneBank(window, aggregate)
