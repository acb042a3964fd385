"""What values were before a release: asked of what is kept of the samples until then.

A ratio, a rate or a sum is compared with what it was itself, at moments before the release. How much of
the samples is needed for that hangs on the aggregate, and each says so in its own file: figures of each
second (second_figures.py) or, of quantiles, a draw of the samples (drawn_past.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.monitor.domain.measuring.windows import Floats, Ints, Visible

CELLS = 60
"""In so many cells a baseline's window is cut, and at so many moments at most a value is asked for."""


@dataclass(frozen=True, slots=True)
class Moments:
    """The last seconds of windows of ``window`` seconds. Row r has ``count`` of them, ``step`` seconds
    apart, the newest at ``newest[r]``."""

    newest: Ints
    step: int
    count: int
    window: int

    @property
    def before_newest(self) -> Ints:
        """How long before the newest moment each is, in seconds."""
        return np.arange(self.count) * self.step

    @property
    def seconds(self) -> Ints:
        """[rows, count]"""
        found: Ints = self.newest[:, None] - self.before_newest
        return found

    def of_rows(self, part: slice) -> Moments:
        return Moments(self.newest[part], self.step, self.count, self.window)


class ValuePast(Protocol):
    """The past of one aggregate of many rows, in windows of one length."""

    @property
    def is_drawn(self) -> bool:
        """Whether samples that may be asked for were left out, so that values are estimates."""
        ...

    def add(self, samples: Visible) -> None:
        """Take samples in that count from now on."""
        ...

    def forget(self, next_second: int) -> None:
        """Drop what no release that counts from ``next_second`` or later is compared with."""
        ...

    def values_at(self, rows: Ints, moments: Moments) -> Floats:
        """What the value of each row was at its moments, [rows, count]; NaN without data."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """Values of several groups, one group after the other; ``count`` of each."""

    value: Floats
    count: Ints

    def of(self, group: int) -> Floats:
        """Those of one group."""
        end = int(self.count[: group + 1].sum())
        return self.value[end - int(self.count[group]) : end]


def moments_before(window: int, span: int, releases: Sequence[int], first: int) -> Moments:
    """The moments of the ``window`` seconds before second ``first``, for windows of ``span`` seconds: a
    sixtieth of the window apart, the newest in the second before each release. Of a release that was told
    late, the oldest ones may be before that."""
    newest = np.array(releases, dtype=np.int64) - 1
    step = cell_seconds(window)
    oldest = first - window
    return Moments(newest, step, max(0, int(newest.max()) - oldest) // step + 1, span)


def values_before(
    window: int, span: int, pasts: Sequence[tuple[ValuePast, Ints]], releases: Sequence[int], first: int
) -> Found:
    """The values before the seconds of some releases, which count from ``first`` on, at those moments of
    the ``window`` seconds before ``first`` that had one.

    ``pasts`` are those of a value's metric or, of a ratio, of both its metrics, each with its row for
    each release; ``span`` is the length of the value's own window."""
    moments = moments_before(window, span, releases, first)
    value, *to = [past.values_at(rows, moments) for past, rows in pasts]
    for divisor in to:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value = np.where(divisor != 0.0, value / divisor, np.nan)
    counts = np.isfinite(value) & (moments.seconds >= first - window)
    return Found(value[counts], counts.sum(axis=1))


def cell_seconds(window: int) -> int:
    return -(-window // CELLS)
