"""What is remembered of each series: a fixed number of numbers, updated in place.

One row a series, so that thousands are advanced by the same few array operations. Nothing here
depends on the sampling step: averages decay with time, and several samples within a sixth of the
horizon are one tick (its value is the last one; it breaches if any of them did).

All values are kept as *excess*: how far beyond the threshold, positive while breaching.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

TICKS = 6
"""Ticks in a horizon: a series is evaluated this often, or at each sample where they are rarer."""
DAY_S, HOUR_S = 86_400.0, 3_600.0
HOUR_SLOTS = 12
RHYTHM = 48
"""Intervals between breaches that are remembered."""
LAGS = 12
"""Ticks whose values are remembered one by one."""
_EARLY = 0.9
"""A tick may be this much of its length: clocks jitter."""

LEVEL_HALVES = (1 / 3, 2.0, 12.0, 96.0)
RATE_HALVES = (0.5, 2.0, 8.0, 48.0, 192.0)
OUTCOME_HALVES = (8.0, 48.0, 192.0)
"""Half-lives of the averages, in horizons."""
_CHANGE_HALF, _QUIET_HALF = 48.0, 48.0
_SLOT_MEMORY = 0.7
"""What a former day, or hour, still weighs when the next one has come."""
_HOUR_MEMORY = 0.85


def day_slots(horizon: float) -> int:
    """Slots in a day, each about a tick wide, 288 at most."""
    return int(np.clip(round(DAY_S * TICKS / horizon), 24, 288))


class History:
    """The remembered numbers of ``size`` series with one horizon (seconds)."""

    def __init__(self, size: int, horizon: float) -> None:
        self.horizon = horizon
        self.slots = day_slots(horizon)
        self.arrays: dict[str, npt.NDArray[Any]] = {}
        for name, shape, kind, fill in self._layout():
            self.arrays[name] = np.full((size, *shape), fill, dtype=kind)

    def _layout(self) -> list[tuple[str, tuple[int, ...], type[np.generic], float]]:
        wide, exact = np.float32, np.float64
        return [
            ("began", (), exact, np.nan),
            ("ticked", (), exact, np.nan),
            ("seen", (), exact, np.nan),
            ("pane", (), exact, -np.inf),
            ("last", (LAGS,), exact, 0.0),
            ("level", (len(LEVEL_HALVES), 3), exact, 0.0),
            ("change", (2,), exact, 0.0),
            ("quiet", (3,), exact, 0.0),
            ("rate", (len(RATE_HALVES), 2), exact, 0.0),
            ("near", (2, 2), exact, 0.0),
            ("outcome", (len(OUTCOME_HALVES), 2), exact, 0.0),
            ("breached", (), exact, np.nan),
            ("onset", (), exact, np.nan),
            ("onset_before", (), exact, np.nan),
            ("breaching", (), np.bool_, 0),
            ("gaps", (RHYTHM,), wide, np.nan),
            ("beats", (RHYTHM,), wide, np.nan),
            ("day_rate", (self.slots,), wide, 0.0),
            ("day_level", (self.slots,), wide, 0.0),
            ("day_weight", (self.slots,), wide, 0.0),
            ("hour_rate", (HOUR_SLOTS,), wide, 0.0),
            ("hour_level", (HOUR_SLOTS,), wide, 0.0),
            ("hour_weight", (HOUR_SLOTS,), wide, 0.0),
        ]

    def __len__(self) -> int:
        return len(self.arrays["began"])

    def grow(self, size: int) -> None:
        """Make room for ``size`` series; those there are keep their rows."""
        for name, shape, kind, fill in self._layout():
            old = self.arrays[name]
            new = np.full((size, *shape), fill, dtype=kind)
            new[: len(old)] = old
            self.arrays[name] = new

    def next_tick(self, rows: Rows, time: Array, begin: Rows, end: Rows) -> Rows:
        """Where the next tick of each of these rows ends: the index of its first sample that is late
        enough, among the ascending ``time[begin:end]`` of each row; ``end`` where there is none."""
        ticked, least = self.arrays["ticked"][rows], self.horizon / TICKS * _EARLY
        low, high = begin.copy(), end.copy()
        while (searched := low < high).any():
            middle = np.where(searched, (low + high) // 2, begin)
            too_early = time[middle] - ticked < least
            low = np.where(searched & too_early, middle + 1, low)
            high = np.where(searched & ~too_early, middle, high)
        return low

    def gather(self, rows: Rows, excess: Array, begin: Rows, end: Rows) -> None:
        """Take the samples ``excess[begin:end]`` of each row into its tick; no part may be empty, and
        they ascend."""
        edges = np.stack((begin, end), axis=1).ravel()
        highest = np.maximum.reduceat(np.append(excess, -np.inf), edges)[::2]
        self.arrays["pane"][rows] = np.maximum(self.arrays["pane"][rows], highest)

    def tick(self, rows: Rows, time: Array, excess: Array) -> None:
        """End a tick of each of these rows; times ascend within a row."""
        arrays, horizon = self.arrays, self.horizon
        highest = arrays["pane"][rows]
        breach = highest > 0.0
        first = np.isnan(arrays["ticked"][rows])
        arrays["began"][rows] = np.where(first, time, arrays["began"][rows])
        span = np.where(first, 0.0, (time - arrays["ticked"][rows]) / horizon)
        self._average(rows, span, first, excess, breach)
        self._remember_slots(rows, time, excess, breach)
        self._remember_rhythm(rows, time, breach)
        last = arrays["last"][rows]
        last[:, 1:] = np.where(first[:, None], excess[:, None], last[:, :-1])
        last[:, 0] = excess
        arrays["last"][rows] = last
        arrays["breaching"][rows] = breach
        arrays["ticked"][rows] = time
        arrays["pane"][rows] = -np.inf

    def fold_outcome(self, rows: Rows, came: Array) -> None:
        """A prediction of each of these rows has been answered by what came."""
        outcome = self.arrays["outcome"][rows]
        for index, half in enumerate(OUTCOME_HALVES):
            kept = 0.5 ** (1.0 / (TICKS * half))
            outcome[:, index, 0] = outcome[:, index, 0] * kept + came
            outcome[:, index, 1] = outcome[:, index, 1] * kept + 1.0
        self.arrays["outcome"][rows] = outcome

    def _average(
        self,
        rows: Rows,
        span: Array,
        first: npt.NDArray[np.bool_],
        excess: Array,
        breach: npt.NDArray[np.bool_],
    ) -> None:
        arrays = self.arrays
        level = arrays["level"][rows]
        for index, half in enumerate(LEVEL_HALVES):
            kept = 0.5 ** (span / half)
            level[:, index, 0] = level[:, index, 0] * kept + 1.0
            share = 1.0 / level[:, index, 0]
            away = excess - level[:, index, 1]
            level[:, index, 1] += share * away
            level[:, index, 2] = (1.0 - share) * (level[:, index, 2] + share * away * away)
        arrays["level"][rows] = level
        step = np.where(first, 0.0, np.abs(excess - arrays["last"][rows, 0]))
        change = arrays["change"][rows]
        kept = 0.5 ** (span / _CHANGE_HALF)
        change[:, 0] = change[:, 0] * kept + step
        change[:, 1] = change[:, 1] * kept + ~first
        arrays["change"][rows] = change
        quiet = arrays["quiet"][rows]
        kept = 0.5 ** (span / _QUIET_HALF)
        weight = quiet[:, 0] * kept + 1.0
        away = excess - quiet[:, 1]
        share = 1.0 / weight
        calm = np.stack(
            (
                weight,
                quiet[:, 1] + share * away,
                (1.0 - share) * (quiet[:, 2] + share * away * away),
            ),
            axis=1,
        )
        arrays["quiet"][rows] = np.where(breach[:, None], quiet, calm)
        rate = arrays["rate"][rows]
        for index, half in enumerate(RATE_HALVES):
            kept = 0.5 ** (span / half)
            rate[:, index, 0] = rate[:, index, 0] * kept + breach
            rate[:, index, 1] = rate[:, index, 1] * kept + 1.0
        arrays["rate"][rows] = rate
        close = excess > -np.sqrt(calm[:, 2])
        near = arrays["near"][rows]
        for index, half in enumerate((2.0, 24.0)):
            kept = 0.5 ** (span / half)
            near[:, index, 0] = near[:, index, 0] * kept + close
            near[:, index, 1] = near[:, index, 1] * kept + 1.0
        arrays["near"][rows] = near

    def _remember_slots(self, rows: Rows, time: Array, excess: Array, breach: npt.NDArray[np.bool_]) -> None:
        arrays = self.arrays
        slot = ((time % DAY_S) / DAY_S * self.slots).astype(np.int64) % self.slots
        weight = arrays["day_weight"][rows, slot] * np.float32(_SLOT_MEMORY) + np.float32(1.0)
        share = np.float32(1.0) / weight
        rate = arrays["day_rate"][rows, slot]
        arrays["day_rate"][rows, slot] = rate + share * (breach - rate)
        level = arrays["day_level"][rows, slot]
        arrays["day_level"][rows, slot] = level + share * (excess.astype(np.float32) - level)
        arrays["day_weight"][rows, slot] = weight
        slot = ((time % HOUR_S) / HOUR_S * HOUR_SLOTS).astype(np.int64) % HOUR_SLOTS
        weight = arrays["hour_weight"][rows, slot] * np.float32(_HOUR_MEMORY) + np.float32(1.0)
        rate = arrays["hour_rate"][rows, slot]
        arrays["hour_rate"][rows, slot] = rate + (breach - rate) / weight
        level = arrays["hour_level"][rows, slot]
        arrays["hour_level"][rows, slot] = level + (excess.astype(np.float32) - level) / weight
        arrays["hour_weight"][rows, slot] = weight

    def _remember_rhythm(self, rows: Rows, time: Array, breach: npt.NDArray[np.bool_]) -> None:
        arrays = self.arrays
        begins = breach & ~arrays["breaching"][rows]
        some = rows[begins]
        if len(some):
            now = time[begins]
            for name, since in (("gaps", "breached"), ("beats", "onset")):
                before = arrays[since][some]
                ring = arrays[name][some]
                known = ~np.isnan(before)
                shifted = np.concatenate((((now - before) / self.horizon)[:, None], ring[:, :-1]), axis=1)
                arrays[name][some] = np.where(known[:, None], shifted, ring)
            arrays["onset_before"][some] = arrays["onset"][some]
            arrays["onset"][some] = now
        arrays["breached"][rows] = np.where(breach, time, arrays["breached"][rows])
