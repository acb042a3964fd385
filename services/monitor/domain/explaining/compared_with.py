"""What the releases in the records made of a trigger: what its values were compared with, and from
which samples that figure was worked out.

The engine keeps the figure alone. Here it is worked out again, by the same code and from the
samples that the engine had at that second, to say where it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.monitor.domain.engine.releases import Release
from services.monitor.domain.explaining.recorded import Recorded, Run
from services.monitor.domain.language.rules import Baseline, Rule
from services.monitor.domain.measuring.baselines import Past, figure_of
from services.monitor.domain.measuring.columns import Pending
from services.monitor.domain.measuring.windows import Visible


@dataclass(frozen=True, slots=True)
class Figure:
    """What a release, which counts from second ``since`` on, makes the baseline: ``value`` None where
    there is nothing to compare with. It is that of ``kept`` of the ``samples`` whose times (epoch
    seconds) are from ``earliest`` to ``latest``. ``fixed``: the trigger was inactive, and so it was
    compared with this from then on; otherwise it kept what it had."""

    release: Release
    since: int
    value: float | None
    samples: int
    kept: int
    earliest: float | None
    latest: float | None
    fixed: bool


def figures_of(rule: Rule, recorded: Recorded, found: Run) -> list[Figure]:
    """The figure of each release in the order in which they begin to count; ``found`` is the engine's run."""
    if rule.baseline is None:
        return []
    samples, _ = recorded.samples()
    return [
        _figure(rule.baseline, samples, since, release, fixed=found.phase_before(since) == "inactive")
        for since, release in recorded.releases()
    ]


def in_force(figures: list[Figure], second: int) -> Figure | None:
    """What the trigger is compared with at ``second``; None before any release."""
    return next((each for each in reversed(figures) if each.fixed and each.since <= second), None)


def newest(releases: list[tuple[int, Release]], second: int) -> Release | None:
    """The release that counts at ``second``."""
    return next((release for since, release in reversed(releases) if since <= second), None)


def _figure(baseline: Baseline, samples: Pending, since: int, release: Release, *, fixed: bool) -> Figure:
    counted = samples.take(samples.first < since)
    past = Past(baseline.window)
    past.add(
        Visible(
            np.zeros(len(counted), dtype=np.int64),
            counted.second,
            counted.first,
            counted.time,
            counted.value,
            counted.offset,
        )
    )
    (kept,) = past.before([0], [release.second], since)
    within = (counted.second >= since - baseline.window) & (counted.second < release.second)
    times = counted.time[within]
    return Figure(
        release=release,
        since=since,
        value=figure_of(baseline, kept),
        samples=len(times),
        kept=len(kept),
        earliest=float(times.min()) if len(times) else None,
        latest=float(times.max()) if len(times) else None,
        fixed=fixed,
    )
