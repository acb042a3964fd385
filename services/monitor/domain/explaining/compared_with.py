"""What the releases in the records made of a trigger: what its values were compared with, and from
which samples those figures were worked out.

The engine keeps the figures alone. Here they are worked out again, by the same code and from the
samples that the engine had at that second, to say where they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.monitor.domain.engine.pasts import Pasts
from services.monitor.domain.engine.releases import Release
from services.monitor.domain.explaining.recorded import Recorded, Run
from services.monitor.domain.language.rules import Baseline, Rule
from services.monitor.domain.measuring.baselines import baselines_of


@dataclass(frozen=True, slots=True)
class Figure:
    """What a release, which counts from second ``since`` on, makes the baseline of the rule's check number
    ``check``: ``value`` None where there is nothing to compare with. It looked at ``samples`` whose times
    (epoch seconds) are from ``earliest`` to ``latest``, and is the aggregate of ``kept`` values: of
    samples that were drawn from them or, of a check that is no level, of what it was at so many moments.
    ``fixed``: the trigger was inactive, and so it was compared with this from then on; otherwise it
    kept what it had."""

    check: int
    baseline: Baseline
    release: Release
    since: int
    value: float | None
    samples: int
    kept: int
    earliest: float | None
    latest: float | None
    fixed: bool


def figures_of(rule: Rule, recorded: Recorded, found: Run) -> list[Figure]:
    """Those of each release, in the order in which they begin to count; of each check that has a
    baseline. ``found`` is the engine's run."""
    if not rule.has_baseline:
        return []
    return [
        _figure(rule, at, check.baseline, recorded, since, release, found.phase_before(since) == "inactive")
        for since, release in recorded.releases()
        for at, check in enumerate(rule.checks)
        if check.baseline is not None
    ]


def in_force(figures: Sequence[Figure], second: int) -> list[Figure]:
    """What the trigger's checks are compared with at ``second``; empty before any release."""
    fixed = [each for each in figures if each.fixed and each.since <= second]
    return [each for each in fixed if each.since == fixed[-1].since and each.release == fixed[-1].release]


def known_values(rule: Rule, figures: Sequence[Figure]) -> list[list[float]]:
    """For each check what releases made its baseline."""
    return [
        sorted({each.value for each in figures if each.check == at and each.value is not None})
        for at in range(len(rule.checks))
    ]


def newest(releases: list[tuple[int, Release]], second: int) -> Release | None:
    """The release that counts at ``second``."""
    return next((release for since, release in reversed(releases) if since <= second), None)


def _figure(
    rule: Rule, at: int, baseline: Baseline, recorded: Recorded, since: int, release: Release, fixed: bool
) -> Figure:
    check, pasts = rule.checks[at], Pasts()
    level = pasts.level(rule, check, baseline)
    mine = [number for number, name in enumerate(recorded.names) if name.metric in check.metrics]
    for number in mine:
        level.feed(number, recorded.names[number].metric, recorded.group)
    samples, _ = recorded.samples()
    counted = samples.take((samples.first < since) & np.isin(samples.series, mine))
    for shelf in pasts.shelves:
        shelf.past.add(shelf.feed.visible(counted))
    kept = level.before([recorded.group], [release.second], since)
    (value,) = baselines_of(baseline, kept)
    reach = baseline.window if check.is_level else baseline.window + check.window
    times = counted.time[(counted.second >= since - reach) & (counted.second < release.second)]
    return Figure(
        check=at,
        baseline=baseline,
        release=release,
        since=since,
        value=value,
        samples=len(times),
        kept=len(kept.value),
        earliest=float(times.min()) if len(times) else None,
        latest=float(times.max()) if len(times) else None,
        fixed=fixed,
    )
