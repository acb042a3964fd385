"""What a series was like before a release: the samples of the time before, and one figure of them.

The figure is fixed once, when the release begins to count; until then the samples are only kept.
Nothing is worked out at each second. They are kept in 60 cells (of a minute, for an hour), which
are dropped as a whole when no window can reach them any more. Of a series with more than 60
samples in a cell 60 are drawn. So a series with a sample a second has an exact hour, and no series takes
much more than 80 kB for one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.monitor.domain.language.rules import Baseline
from services.monitor.domain.measuring.drawn_samples import DrawnOfLast
from services.monitor.domain.measuring.registry import measure_of
from services.monitor.domain.measuring.value_past import Found, cell_seconds
from services.monitor.domain.measuring.windows import Floats, Ints

PER_CELL = 60
"""So many samples of a series are kept in each."""


def baselines_of(baseline: Baseline, found: Found) -> list[float | None]:
    """The baseline's aggregate of each group's values; None where nothing can be compared with it: no
    values, a 0, or no finite number."""
    figures: list[float | None] = [None] * len(found.count)
    measure, some = measure_of(baseline.aggregate), np.flatnonzero(found.count)
    known = None if measure is None or not len(some) else measure.figures(found.value, found.count[some])
    if known is not None:
        good = np.isfinite(known) & (known != 0.0)
        for group, figure in zip(some[good].tolist(), known[good].tolist(), strict=True):
            figures[group] = figure
    return figures


def relative_to(baseline: float | Floats, values: Floats) -> Floats:
    """How far the values are above the baseline, relative to it: 0.5 is 50 % more."""
    with np.errstate(over="ignore", invalid="ignore"):
        found: Floats = (values - baseline) / np.abs(baseline)
    return found


class Past(DrawnOfLast):
    """The samples of the last ``window`` seconds of many rows, for baselines."""

    def __init__(self, window: int) -> None:
        super().__init__(window, cell_seconds(window), PER_CELL)

    def before(self, rows: Ints, releases: Sequence[int], first: int) -> Found:
        """The values of each row before the second of its release, which counts from second ``first``
        on: those of the ``window`` seconds before ``first`` that the release was not yet in."""
        begin, ends = first - self._length, np.array(releases, dtype=np.int64) - 1
        which, values = [np.empty(0, dtype=np.int64)], [np.empty(0)]
        for _, drawn in self._samples.of_rows(rows, begin, first - 1):
            inside = (drawn.second >= begin) & (drawn.second <= ends[drawn.which])
            which.append(drawn.which[inside])
            values.append(drawn.value[inside])
        joined = np.concatenate(which)
        order = np.argsort(joined, kind="stable")
        return Found(np.concatenate(values)[order], np.bincount(joined, minlength=len(rows)))


def look_back_of(window: int) -> int:
    """How far back samples may be needed: the cell that the window begins in is drawn as a whole."""
    return window + cell_seconds(window)
