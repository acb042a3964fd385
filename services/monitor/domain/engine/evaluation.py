"""Evaluates blocks of consecutive seconds: every trigger on every group of one partition.

A block holds no second at which a late sample or a release begins to count but its first one.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from services.monitor.domain.engine import sweeper
from services.monitor.domain.engine.derived import Part, derive
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.engine.ratio_groups import Found, RatioGroups
from services.monitor.domain.engine.releases import Releases
from services.monitor.domain.engine.series import Series
from services.monitor.domain.engine.shelves import Derived, Instance, Shelf
from services.monitor.domain.engine.sweeper import Sweeper
from services.monitor.domain.engine.walk import Told, Walk, goes_on_firing, outcomes_of
from services.monitor.domain.language.phases import Verdict, after_silence, next_event_in_silence
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.columns import Pending
from services.monitor.domain.measuring.windows import NEVER, Findings

BLOCK = 512
"""Seconds evaluated at once, at most."""
_AT_NO_TIME = 1 << 62


class Evaluation:
    """The triggers of one partition, evaluated block by block, each second once and in order."""

    def __init__(
        self, series: Series, releases: Releases, partition: int, *, sweeping: bool, announcing: bool
    ) -> None:
        self._series = series
        self._releases = releases
        self._partition = partition
        self._sweeper = Sweeper(partition, announcing=announcing) if sweeping else None
        self.longest = sweeper.BLOCK if sweeping else BLOCK
        """Seconds that ``block`` may be asked for at once, at most."""

    def restore(self, samples: Pending, through: int) -> None:
        """Take in samples that were counted up to second ``through``, without evaluating."""
        if self._sweeper is not None:
            self._sweeper.restore(samples)
        _, dense = self._series.shelved(sweeping=self._sweeper is not None)
        for lanes in self._series.lanes(sweeping=self._sweeper is not None):
            lanes.restore(lanes.feed.visible(samples), through)
        for shelf in (*dense, *self._series.inputs):
            shelf.restore(samples, through)
        self._keep_past(samples, through + 1)

    def begin_releases(self, second: int) -> None:
        """Let the releases count that begin to at ``second``, the next one to be evaluated."""
        releases = self._releases.begin(second)
        for compared in self._series.compared if releases else ():
            compared.fix(releases, second)
        for single in self._series.single_compared if releases else ():
            single.forget_figures()
        for ratios in self._series.ratios if releases else ():
            ratios.forget_figures()

    def block(self, samples: Pending, first: int, last: int) -> list[Outcome]:
        """The outcomes of the seconds ``first`` to ``last``, in which ``samples`` begin to count."""
        outcomes: list[Outcome] = []
        swept, dense = self._series.shelved(sweeping=self._sweeper is not None)
        if self._sweeper is not None:
            widest = self._series.widest_window
            outcomes += self._sweeper.evaluate(swept, samples, first, last, widest=widest)
        for begin in range(first, last + 1, BLOCK) if dense or self._series.derived else ():
            end = min(last, begin + BLOCK - 1)
            part = samples
            if (begin, end) != (first, last):
                low, high = np.searchsorted(samples.first, [begin, end + 1])
                part = samples.take(slice(int(low), int(high)))
            outcomes += self._seconds(dense, part, begin, end)
        self._keep_past(samples, last + 1)
        outcomes.sort(key=lambda outcome: outcome.order)
        return outcomes

    def _keep_past(self, samples: Pending, next_second: int) -> None:
        for shelf in self._series.pasts:
            shelf.past.add(shelf.feed.visible(samples))
            shelf.past.forget(next_second)

    def _seconds(self, shelves: Iterable[Shelf], samples: Pending, first: int, last: int) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for lanes in self._series.lanes(sweeping=self._sweeper is not None):
            lanes.take(lanes.feed.visible(samples), first, last)
        for shelf in shelves:
            findings = shelf.find(samples, first, last)
            breaching, never_clear = findings.breaching(), findings.never_clear()
            told: list[Told] = []
            for row in sorted(shelf.awake.union(breaching)):
                if row in never_clear and goes_on_firing(shelf.instances[row], last):
                    continue
                walk = Walk(shelf.instances[row], row, findings, first, self._partition)
                told += walk.told()
                shelf.note_awake(row)
            outcomes += outcomes_of(told, findings)
        found = {id(shelf): shelf.find(samples, first, last) for shelf in self._series.inputs}
        for derived in self._series.one_by_one:
            outcomes += self._derived(derived, found, first, last)
        of_block = Found(found, is_one_second=first == last)
        for ratios in self._series.ratios:
            for derived in ratios.due(of_block, self._is_open(ratios, first)):
                outcomes += self._derived(derived, found, first, last)
                ratios.note_awake(derived)
        for single in self._series.single_compared:
            for row, derived in single.due(found[id(single.shelf)]):
                outcomes += self._derived(derived, found, first, last)
                single.shelf.note_awake(row)
        return outcomes

    def _derived(self, derived: Derived, found: dict[int, Findings], first: int, last: int) -> list[Outcome]:
        """Evaluate a trigger that more than one value, or a release, decides."""
        instance = derived.instance
        closes = self._closes(instance)
        if closes <= first and instance.state.phase == "inactive":
            return []
        parts = [[Part(found[id(shelf)], row) for shelf, row in places] for places in derived.places]
        findings = derive(instance.rule.checks, instance.rule.join, parts, instance.figures)
        if closes <= last:
            findings.close(max(0, closes - first))
        if not instance.is_awake and not (findings.verdict == Verdict.BREACH).any():
            return []
        return outcomes_of(Walk(instance, 0, findings, first, self._partition).told(), findings)

    def _closes(self, instance: Instance) -> int:
        """The first second at which the trigger can breach no more, as releases stand."""
        if instance.rule.has_baseline and not instance.can_breach:
            return NEVER
        return self._closes_for(instance.rule, instance.of.component)

    def _closes_for(self, rule: Rule, component: str) -> int:
        """The first second at which the component's release is too old."""
        if rule.only_within is None:
            return _AT_NO_TIME
        release = self._releases.newest(component)
        return NEVER if release is None else release.second + rule.only_within

    def _is_open(self, ratios: RatioGroups, first: int) -> bool:
        """Whether a release leaves any of the groups room for a breach from second ``first`` on."""
        return any(self._closes_for(ratios.rule, component) > first for component in ratios.components)

    def quiet_until(self, first: int, until: int, untold: int) -> int:
        """The next second, ``until`` at the latest, at which anything can happen: ``first`` itself,
        unless no window holds a sample any more. What is only repeated up to second ``untold`` does
        not count."""
        if until == first:
            return first
        shelves = self._series.all_shelves
        if any(shelf.bank.latest + shelf.bank.window > first for shelf in shelves):
            return first
        if self._sweeper is not None and self._sweeper.latest + self._series.widest_window > first:
            return first
        for instance in self._series.awake():
            if instance.born is None and instance.watches_absence:
                continue
            until = min(until, self._next_event(instance, first, untold))
            if until <= first:
                return first
        return until

    def _next_event(self, instance: Instance, first: int, untold: int) -> int:
        """The next second that has to be evaluated, if none from ``first`` on has data."""
        closes = self._closes(instance)
        if closes <= first:
            return _AT_NO_TIME if instance.state.phase == "inactive" else first
        event = next_event_in_silence(instance.rule.terms, instance.state, first, untold)
        if instance.born is not None:
            event = max(event, instance.born)
        return min(event, closes)

    def pass_over(self, first: int, last: int) -> None:
        """Let these seconds pass, in which there is no data and nothing to tell."""
        for instance in self._series.awake():
            instance.move_to(after_silence(instance.rule.terms, instance.state, first, last))
