"""The values that a trigger compared with its thresholds, over records that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from services.monitor.domain.engine.derived import Part, derive
from services.monitor.domain.engine.held_samples import HeldSamples
from services.monitor.domain.engine.series import Series
from services.monitor.domain.engine.shelves import Figures
from services.monitor.domain.engine.sweep import Sweep, has_sweep
from services.monitor.domain.explaining.recorded import Recorded, numbered
from services.monitor.domain.language.phases import Verdict
from services.monitor.domain.language.rules import Check, Rule
from services.monitor.domain.measuring.baselines import relative_to
from services.monitor.domain.measuring.columns import Pending
from services.monitor.domain.measuring.windows import Floats

MAX_VALUES = 20_000
"""More distinct values than this are too many to try each as a threshold."""
_MAX_SECONDS = 1_000_000
_BLOCK = 512


def values_at(
    rule: Rule, recorded: Recorded, second: int, *, figures: Figures = ()
) -> tuple[float | None, ...]:
    """The value of each check at one second, compared with its one of ``figures`` where it has a
    baseline; None without data."""
    samples, _ = recorded.samples()
    held = samples.take((samples.first <= second) & (samples.second <= second))
    at_once = Pending(
        held.series, held.second, np.full(len(held), second), held.time, held.value, held.offset
    )
    found = (float(values[0]) for values in _by_second(rule, recorded, at_once, second, second, figures))
    return tuple(value if np.isfinite(value) else None for value in found)


def distinct_values(
    rule: Rule, recorded: Recorded, figures: Sequence[Sequence[float]] = ()
) -> list[Floats | None]:
    """For each check, ascending, the distinct values that it had, and those of its samples where each
    is compared for ``min_samples``; None where they are too many. No other number can make a
    difference as a threshold. ``figures`` holds, for each check, what releases made its baseline. Which of
    them a value is compared with hangs on the phases, and they on the threshold: the values are those
    against each of them."""
    samples, late = recorded.samples()
    if not len(samples):
        return [np.empty(0) for _ in rule.checks]
    first = int(samples.second.min())
    last = int(samples.second.max()) + max(check.window for check in rule.checks)
    if len(recorded.names) == 1 and has_sweep(rule) and not late.any():
        ((_, block),) = HeldSamples().block(samples, first, last, rule.window)
        found = [Sweep(rule, block).values()[1]]
    elif last - first > _MAX_SECONDS:
        return [None for _ in rule.checks]
    else:
        ordered = samples.take(np.argsort(samples.first, kind="stable"))
        found = _by_second(absolute(rule), recorded, ordered, first, last)
        for at, check in enumerate(rule.checks):
            if check.baseline is not None:
                against = [relative_to(each, found[at]) for each in figures[at]]
                found[at] = np.concatenate([np.empty(0), *against])
    return [
        _distinct(check, values, recorded, samples) for check, values in zip(rule.checks, found, strict=True)
    ]


def absolute(rule: Rule) -> Rule:
    """The rule with values that are compared with nothing, at any time after a release."""
    further = tuple(replace(check, baseline=None) for check in rule.further)
    return replace(rule, baseline=None, further=further, only_within=None)


def _distinct(check: Check, values: Floats, recorded: Recorded, samples: Pending) -> Floats | None:
    own = np.empty(0)
    if check.judges_samples:
        mine = [at for at, name in enumerate(recorded.names) if name.metric == check.metric]
        own = samples.value[np.isin(samples.series, mine)]
    distinct = np.unique(np.concatenate([values[np.isfinite(values)], own]))
    return None if len(distinct) > MAX_VALUES else distinct


def _by_second(
    rule: Rule,
    recorded: Recorded,
    samples: Pending,
    first: int,
    last: int,
    figures: Figures = (),
) -> list[Floats]:
    """The value of each check at each second from ``first`` to ``last``, NaN without data, from samples
    in the order of the seconds that count them first."""
    series = Series([rule])
    numbered(rule, recorded.names, series)
    if not len(samples):
        # No series has a place before its first sample.
        return [np.full(last - first + 1, np.nan) for _ in rule.checks]
    series.place(samples)
    late = samples.first[samples.first > samples.second]
    # A late sample must not be seen before its second: a block begins there, as in the engine.
    begins = sorted({*range(first, last + 1, _BLOCK), *late[(late > first) & (late <= last)].tolist()})
    blocks: list[list[Floats]] = []
    for begin, end in pairwise([*begins, last + 1]):
        low, high = np.searchsorted(samples.first, [begin if blocks else -1, end])
        part = samples.take(slice(int(low), int(high)))
        blocks.append(_of_block(rule, series, part, begin, end - 1, figures))
    return [np.concatenate([block[at] for block in blocks]) for at in range(len(rule.checks))]


def _of_block(
    rule: Rule, series: Series, samples: Pending, first: int, last: int, figures: Figures
) -> list[Floats]:
    for lanes in series.lanes(sweeping=False):
        lanes.take(lanes.feed.visible(samples), first, last)
    found = {id(shelf): shelf.find(samples, first, last, every_row=True) for shelf in series.all_shelves}
    for derived in series.derived:
        parts = [[Part(found[id(shelf)], row) for shelf, row in places] for places in derived.places]
        return list(derive(rule.checks, rule.join, parts, figures).of_checks)
    (findings,) = found.values()
    return [np.where(findings.verdicts(0) == Verdict.NO_DATA, np.nan, findings.values(0))]
