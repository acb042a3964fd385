"""Why a trigger fired or did not, over the records around its breach."""

from __future__ import annotations

from dataclasses import dataclass

from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.engine.releases import Release
from services.monitor.domain.explaining.check_values import absolute, distinct_values, values_at
from services.monitor.domain.explaining.compared_with import (
    Figure,
    figures_of,
    in_force,
    known_values,
    newest,
)
from services.monitor.domain.explaining.flips import Flips
from services.monitor.domain.explaining.recorded import Recorded, run
from services.monitor.domain.explaining.searching import Change
from services.monitor.domain.language.groups import Group, Labels
from services.monitor.domain.language.phases import State
from services.monitor.domain.language.rules import Rule


@dataclass(frozen=True, slots=True)
class Seen:
    """A sample of the trigger's group; ``breaches`` where it satisfies by itself a `when` that
    looks at single samples."""

    offset: int
    time: float
    metric: str
    labels: Labels
    value: float
    breaches: bool
    late: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the engine finds at second ``at``: it ``fired`` in the seconds asked about or not.

    ``values`` has one for each condition. ``seen`` are the samples from a window and a `for` before
    the breach on. ``not_tried`` are the thresholds that were not looked for, and why.

    ``decided`` is the second at which it fired, or ``at``. Of a trigger that looks at releases,
    ``release`` is the one that counted then (None: there was none), and ``figures`` what its checks
    were compared with; ``readings`` are the values of then before that comparison.
    """

    rule: Rule
    group: Group
    at: int
    evaluated: int | None
    fired: bool
    state: State
    values: tuple[float | None, ...]
    changes_of_phase: list[Outcome]
    seen: list[Seen]
    flips: list[Change]
    not_tried: list[str]
    decided: int
    release: Release | None
    figures: list[Figure]
    readings: tuple[float | None, ...]

    @property
    def lasted(self) -> int:
        """The seconds that the breach counts for `for`; of M of N, how many evaluations are breaches."""
        if self.rule.terms.quorum is not None:
            return self.state.history.bit_count()
        return max(0, self.at - self.state.began - self.state.held)


def explain(rule: Rule, recorded: Recorded, first: int, last: int) -> Explanation:
    """Why ``rule`` was firing at some second from ``first`` to ``last``, or at none of them."""
    records = recorded.through(last)
    found = run(rule, records)
    fired = found.fires(first, last)
    figures = figures_of(rule, records, found)
    values = distinct_values(rule, records, known_values(rule, figures))
    flips, not_tried = Flips(rule, records, first, last, fired, values).all()
    began = first if found.state.phase == "inactive" else min(first, found.state.began)
    at = last if found.evaluated is None else min(last, found.evaluated)
    widest = max(check.window for check in rule.checks)
    changes = [each for each in found.outcomes if each.is_transition]
    decided = next((each.at for each in reversed(changes) if fired and each.after == "firing"), at)
    return Explanation(
        rule=rule,
        group=recorded.group,
        at=at,
        evaluated=found.evaluated,
        fired=fired,
        state=found.state,
        values=values_at(rule, records, at, figures=found.figures),
        changes_of_phase=changes,
        seen=_seen(rule, records, began - widest - rule.terms.lasting),
        flips=flips,
        not_tried=not_tried,
        decided=decided,
        release=newest(records.releases(), decided) if rule.looks_at_releases else None,
        figures=in_force(figures, decided),
        readings=values_at(absolute(rule), records, decided),
    )


def episode(rule: Rule, recorded: Recorded, trigger_id: str) -> tuple[int, int] | None:
    """From the beginning of the breach with this id to its end (or as far as time went); None if
    the engine finds no such breach that fired."""
    found = run(rule, recorded)
    mine = [each for each in found.outcomes if each.is_transition and each.trigger_id == trigger_id]
    if not any(each.after == "firing" for each in mine):
        return None
    ended = mine[-1].at if mine[-1].after == "inactive" else (found.evaluated or mine[-1].at)
    return mine[0].began, ended


def _seen(rule: Rule, recorded: Recorded, since: int) -> list[Seen]:
    samples, late = recorded.samples()
    recent = samples.second >= since
    samples, late = samples.take(recent), late[recent]
    columns = (samples.series, samples.offset, samples.time, samples.value, late)
    seen = []
    for series, offset, time, value, was_late in zip(*(each.tolist() for each in columns), strict=True):
        name = recorded.names[series]
        breaches = _breaches(rule, name.metric, value)
        seen.append(Seen(offset, time, name.metric, name.labels, value, breaches, was_late))
    return seen


def _breaches(rule: Rule, metric: str, value: float) -> bool:
    return any(
        check.when.holds(value) for check in rule.checks if check.metric == metric and check.judges_samples
    )
