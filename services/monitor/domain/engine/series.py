"""Which rows of which banks a series feeds, and what is remembered of each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np

from services.monitor.domain.engine.admission import Admission
from services.monitor.domain.engine.compared import Compared, SingleCompared, is_single_compared
from services.monitor.domain.engine.derived import ANY_VALUE
from services.monitor.domain.engine.memory import Remembered
from services.monitor.domain.engine.pasts import Pasts, seconds_kept
from services.monitor.domain.engine.ratio_groups import RatioGroups, is_single_ratio
from services.monitor.domain.engine.shelves import Derived, Instance, PastShelf, Shelf
from services.monitor.domain.engine.sweep import can_be_swept
from services.monitor.domain.language.aggregates import TRAITS, Aggregate
from services.monitor.domain.language.groups import Group, Labels, Selection
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.baselines import Past
from services.monitor.domain.measuring.columns import NO_SERIES, Pending
from services.monitor.domain.measuring.feeds import Feed
from services.monitor.domain.measuring.lane_bank import LaneBank
from services.monitor.domain.measuring.lanes import Lanes
from services.monitor.domain.measuring.measures import OwnBank
from services.monitor.domain.measuring.registry import REGISTRY, measure_of
from services.monitor.domain.measuring.value_past import ValuePast
from services.monitor.domain.measuring.windows import NONE

Shape = tuple[Aggregate, int, bool, int]
"""Aggregate, window, whether it can be swept, and a layer: no two triggers of one shape feed
different rows, or lanes, from one series."""


class SeriesName(NamedTuple):
    """``labels`` are those that a trigger on the metric looks at."""

    metric: str
    component: str
    labels: Labels


class Series:
    """The series of one partition: each a metric of a component, and the values of those labels
    that a trigger on this metric, or somebody else, looks at.

    A series is numbered when it is read, and has rows from ``place`` on, which is told in the order
    of the log: whether there is room for its groups depends on that order.
    """

    def __init__(self, rules: Iterable[Rule], *, watched: Mapping[str, frozenset[str]] | None = None) -> None:
        """``watched`` are metrics, and labels of them, that somebody else looks at."""
        self._watched = watched or {}
        rules = tuple(rules)
        self.admission = Admission(rules)
        self._rules: dict[str, list[Rule]] = {}
        self._derived_rules: dict[str, list[Rule]] = {}
        for rule in rules:
            known = self._derived_rules if rule.is_derived else self._rules
            for metric in sorted(rule.metrics):
                known.setdefault(metric, []).append(rule)
        looked_at = (*self._rules, *self._derived_rules, *self._watched)
        self._labels = {metric: self._labels_of(metric) for metric in looked_at}
        self._ids: dict[tuple[str, str, tuple[str, ...]], int] = {}
        self._selections = {metric: self._selections_of(metric) for metric in self._labels}
        self._shapes = {metric: tuple(self._shapes_of(metric)) for metric in self._labels}
        self._lanes: dict[tuple[bool, int], Lanes] = {}
        self._lane_of: dict[tuple[Lanes, str, Group], int] = {}
        self._shelves: dict[Shape, Shelf] = {}
        self._places: dict[tuple[str, Group], tuple[Shelf, int]] = {}
        self._inputs: dict[Shape | tuple[str, int, int], Shelf] = {}
        self._derived: dict[tuple[str, Group], Derived] = {}
        self._pasts = Pasts()
        self._compared: dict[str, Compared] = {}
        self._single_compared: dict[str, SingleCompared] = {}
        self._ratios: dict[str, RatioGroups] = {}
        self.one_by_one: list[Derived] = []
        """The derived triggers' groups that are looked at in each block."""
        self._unplaced: dict[int, SeriesName] = {}
        self._changed: list[Instance] = []
        self._every_rule = rules
        self._groups: dict[str, int] = {}
        self.widest_window = max((check.window for rule in rules for check in rule.checks), default=0)
        """How far back samples decide about a second."""
        kept = (seconds_kept(check) for rule in rules for check in rule.checks)
        self.look_back = max(self.widest_window, *kept, 0)
        """How far back samples are needed: baselines are worked out from them, too."""

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

    def lanes(self, *, sweeping: bool) -> list[Lanes]:
        """Those that the shelves evaluated at each second look at."""
        return [lanes for (swept, _), lanes in self._lanes.items() if not (swept and sweeping)]

    @property
    def inputs(self) -> Iterable[Shelf]:
        """The banks whose rows are values of derived triggers."""
        return self._inputs.values()

    @property
    def pasts(self) -> Iterable[PastShelf[Past] | PastShelf[ValuePast]]:
        return self._pasts.shelves

    @property
    def all_shelves(self) -> Iterable[Shelf]:
        return (*self._shelves.values(), *self._inputs.values())

    @property
    def derived(self) -> Iterable[Derived]:
        return self._derived.values()

    @property
    def size(self) -> int:
        """How many instances there are: triggers, each on its groups."""
        return sum(len(shelf.instances) for shelf in self.shelves) + len(self._derived)

    @property
    def compared(self) -> Iterable[Compared]:
        """The triggers with a baseline."""
        return self._compared.values()

    def drawn(self) -> list[Rule]:
        """Those of them that are compared with figures of a draw: there are more samples than are kept."""
        return [compared.rule for compared in self._compared.values() if compared.is_drawn]

    @property
    def single_compared(self) -> Iterable[SingleCompared]:
        """Those of them that one value decides."""
        return self._single_compared.values()

    @property
    def ratios(self) -> Iterable[RatioGroups]:
        """The triggers that one ratio decides."""
        return self._ratios.values()

    def _looking_at(self, metric: str) -> tuple[Rule, ...]:
        return (*self._rules.get(metric, ()), *self._derived_rules.get(metric, ()))

    def _labels_of(self, metric: str) -> tuple[str, ...]:
        elsewhere = self._watched.get(metric, frozenset())
        return tuple(sorted(elsewhere.union(*(rule.selection.labels for rule in self._looking_at(metric)))))

    def _selections_of(self, metric: str) -> dict[Selection, int]:
        """The layers of lanes that the metric's series feed, by what is selected."""
        selections: dict[Selection, int] = {}
        for rule in self._looking_at(metric):
            selections.setdefault(rule.selection, len(selections))
        return selections

    def looks_at(self, metric: str) -> bool:
        return metric in self._labels

    def reads_labels_of(self, metric: str) -> bool:
        """Whether the number of a series of this metric depends on the sample's labels."""
        return bool(self._labels.get(metric))

    def number_of(self, metric: str, component: str, labels: Labels | None = None) -> int:
        """The number of a series, or ``NO_SERIES`` where no trigger looks at the metric."""
        return self.id_of(metric, component, labels) if self.looks_at(metric) else NO_SERIES

    def id_of(self, metric: str, component: str, labels: Labels | None = None) -> int:
        """The number of a series, which is made known if it is new; ``NO_SERIES`` for a new one that
        no trigger has room for. Only for metrics that somebody looks at."""
        names = self._labels[metric]
        values = tuple((labels or {}).get(name, "") for name in names)
        known = self._ids.get((metric, component, values))
        if known is not None:
            return known
        # A NUL cannot be stored: who rolls back would have to set the trigger aside.
        shown = (value.replace("\0", "\N{REPLACEMENT CHARACTER}") for value in values)
        name = SeriesName(metric, component, dict(zip(names, shown, strict=True)))
        if metric not in self._watched and all(
            self.admission.is_settled_against(rule, group) for rule, group in self._groups_of(name)
        ):
            return NO_SERIES
        number = len(self._ids)
        self._ids[metric, component, values] = number
        self._unplaced[number] = name
        return number

    def _groups_of(self, name: SeriesName) -> Iterator[tuple[Rule, Group]]:
        """The triggers that look at a series, each with its group."""
        for rule in (*self._rules.get(name.metric, ()), *self._derived_rules.get(name.metric, ())):
            group = rule.selection.group_of(name.component, name.labels)
            if group is not None:
                yield rule, group

    def place(self, samples: Pending) -> None:
        """Make rows for the series that these samples, in the order of the log, show first."""
        if not self._unplaced or not len(samples):
            return
        new = np.flatnonzero(np.isin(samples.series, list(self._unplaced)))
        numbers, at = np.unique(samples.series[new], return_index=True)
        in_order = np.argsort(at)
        shown = samples.second[new[at[in_order]]].tolist()
        for number, second in zip(numbers[in_order].tolist(), shown, strict=True):
            self._place_series(number, self._unplaced.pop(number), second)

    def _place_series(self, number: int, name: SeriesName, at: int) -> None:
        """Feed the series to the rows of its groups, as far as there is room for them."""
        selection: Selection | None = None
        group: Group | None = None
        for rule, shape in self._shapes[name.metric]:
            if rule.selection != selection:
                # Most triggers of a metric have the same one.
                selection, group = rule.selection, rule.selection.group_of(name.component, name.labels)
            if group is not None and self.admission.admits(rule, group, at):
                shelf, row = self._place(rule, shape, group)
                shelf.feed.add(number, shelf.place(row))
        for rule in self._derived_rules.get(name.metric, ()):
            group = rule.selection.group_of(name.component, name.labels)
            if group is not None and self.admission.admits(rule, group, at):
                self._feed(number, name.metric, self._derive(rule, group))

    def _feed(self, number: int, metric: str, derived: Derived) -> None:
        rule = derived.instance.rule
        for check, places in zip(rule.checks, derived.places, strict=True):
            for name, (shelf, row) in zip(check.metrics, places, strict=True):
                if name == metric:
                    shelf.feed.add(number, shelf.place(row))
        if rule.has_baseline:
            self._compared[rule.hash].feed(number, metric, derived)

    def _derive(self, rule: Rule, group: Group) -> Derived:
        """The derived trigger of a group, which is made, with the rows of its values, if it is new."""
        known = self._derived.get((rule.hash, group))
        if known is None:
            places = tuple(
                tuple(self._add_input(rule, group, index, part) for part in range(len(check.metrics)))
                for index, check in enumerate(rule.checks)
            )
            known = self._derived[rule.hash, group] = Derived(self._instance(rule, group), places)
            if rule.has_baseline:
                self._compare(rule, known)
            if is_single_ratio(rule):
                self._ratios.setdefault(rule.hash, RatioGroups(rule)).add(known)
            elif not is_single_compared(rule):
                self.one_by_one.append(known)
        return known

    def _compare(self, rule: Rule, derived: Derived) -> None:
        """Keep the past of a group."""
        if rule.hash not in self._compared:
            levels = tuple(
                None if check.baseline is None else self._pasts.level(rule, check, check.baseline)
                for check in rule.checks
            )
            self._compared[rule.hash] = Compared(rule, levels)
            if is_single_compared(rule):
                ((of_value, _),) = derived.rows
                self._single_compared[rule.hash] = SingleCompared(rule, of_value)
        self._compared[rule.hash].add(derived)
        if rule.hash in self._single_compared:
            self._single_compared[rule.hash].add(derived)

    def _add_input(self, rule: Rule, group: Group, index: int, part: int) -> tuple[Shelf, int]:
        """A row for one value of a derived trigger. Without lanes each value of each rule has a shelf,
        so that no series needs two rows of one; and so has one that alone is compared with a baseline,
        whose rows are then its groups."""
        check = rule.checks[index]
        metric = check.metrics[part]
        shape: Shape = (check.aggregate, check.window, False, self._selections[metric][rule.selection])
        own = measure_of(check.aggregate) is None or is_single_compared(rule)
        place = (rule.hash, index, part) if own else shape
        shelf = self._inputs.get(place)
        if shelf is None:
            shelf = self._inputs[place] = self._make_shelf(shape)
        lane = self._lane(shape, metric, group)
        if check.to is None and check.baseline is None:
            return shelf, shelf.add_row(check.when, check.clear, lane)
        return shelf, shelf.add_row(ANY_VALUE, None, lane)

    def _make_shelf(self, shape: Shape) -> Shelf:
        aggregate, window, swept, _ = shape
        measure = REGISTRY[aggregate]
        if isinstance(measure, OwnBank):
            return Shelf(measure.bank(window), Feed(), swept)
        lanes = self._lanes_of(shape)
        return Shelf(LaneBank(lanes, window, measure, TRAITS[aggregate]), lanes.feed, swept)

    def _lanes_of(self, shape: Shape) -> Lanes:
        _, _, swept, layer = shape
        if (swept, layer) not in self._lanes:
            self._lanes[swept, layer] = Lanes()
        return self._lanes[swept, layer]

    def _lane(self, shape: Shape, metric: str, group: Group) -> int:
        """The lane of what the metric's samples of a group are; made, if it is new."""
        if measure_of(shape[0]) is None:
            return NONE
        lanes = self._lanes_of(shape)
        lane = self._lane_of.get((lanes, metric, group))
        if lane is None:
            lane = self._lane_of[lanes, metric, group] = lanes.add()
        return lane

    def _shapes_of(self, metric: str) -> Iterator[tuple[Rule, Shape]]:
        """The rules on this metric, each with the shelf that its rows are on."""
        used: dict[tuple[Aggregate, int, bool], int] = {}
        for rule in self._rules.get(metric, ()):
            # Where labels are read, several series may feed one row.
            swept = not self._labels[metric] and can_be_swept(rule)
            shape = (rule.aggregate, rule.window, swept)
            if measure_of(rule.aggregate) is None:
                # Two triggers of one shape on one metric need two rows for one series.
                layer = used[shape] = used.get(shape, -1) + 1
            else:
                layer = self._selections[metric][rule.selection]
            yield rule, (*shape, layer)

    def _place(self, rule: Rule, shape: Shape, group: Group) -> tuple[Shelf, int]:
        """The row of a rule's group, and its shelf; both are made if there are none."""
        place = self._places.get((rule.hash, group))
        if place is not None:
            return place
        shelf = self._shelves.get(shape)
        if shelf is None:
            shelf = self._shelves[shape] = self._make_shelf(shape)
        row = shelf.add_row(rule.when, rule.clear, self._lane(shape, rule.metric, group))
        instance = self._instance(rule, group)
        shelf.instances.append(instance)
        self._places[rule.hash, group] = (shelf, row)
        if instance.watches_absence:
            shelf.awake.add(row)
        return shelf, row

    @property
    def known(self) -> int:
        """How many series are known; their numbers are those below."""
        return len(self._ids)

    def names(self) -> dict[int, SeriesName]:
        """The name of each known series, by its number."""
        return dict(enumerate(self.names_from(0)))

    def names_from(self, first: int) -> Iterator[SeriesName]:
        """The names of the series from this number on, in their order."""
        for metric, component, values in islice(self._ids, first, None):
            yield SeriesName(metric, component, dict(zip(self._labels[metric], values, strict=True)))

    def awake(self) -> Iterator[Instance]:
        """Those that can change their phase without a breach: of many thousands a few."""
        for shelf in self._shelves.values():
            for row in shelf.awake:
                yield shelf.instances[row]
        for derived in self._derived.values():
            if derived.instance.is_awake:
                yield derived.instance

    def groups(self) -> Iterator[tuple[Rule, int]]:
        """The triggers that look at some group, each with the number of them."""
        return ((rule, self._groups[rule.hash]) for rule in self._every_rule if rule.hash in self._groups)

    def _instance(self, rule: Rule, group: Group) -> Instance:
        self._groups[rule.hash] = self._groups.get(rule.hash, 0) + 1
        return Instance(rule, group, noted=self._changed)

    def changed(self) -> list[Instance]:
        """The instances that have changed since the last call."""
        changed = self._changed.copy()
        self._changed.clear()
        for instance in changed:
            instance.changed = False
        return changed

    def instances(self) -> Iterator[Instance]:
        for shelf in self._shelves.values():
            yield from shelf.instances
        for derived in self._derived.values():
            yield derived.instance

    def recall(self, remembered: Remembered) -> bool:
        """Put a remembered phase back in its place; False where its definition is no more."""
        instance = self._recalled(remembered.rule, remembered.of, remembered.state.began)
        if instance is None:
            return False
        instance.state = remembered.state
        instance.born = remembered.born
        instance.first_offset = remembered.first_offset
        instance.last_offset = remembered.last_offset
        instance.figures = remembered.figures or instance.figures
        number = remembered.rule.hash
        screened = self._single_compared.get(number) or self._ratios.get(number)
        if screened is not None:
            screened.note(self._derived[number, remembered.of])
        return True

    def _recalled(self, rule: Rule, group: Group, at: int) -> Instance | None:
        for known in self._derived_rules.get(rule.metric, ()):
            if known.hash == rule.hash and self.admission.admits(known, group, at):
                return self._derive(known, group).instance
        for known, shape in self._shapes.get(rule.metric, ()):
            if known.hash == rule.hash and self.admission.admits(known, group, at):
                shelf, row = self._place(known, shape, group)
                shelf.awake.add(row)
                return shelf.instances[row]
        return None
