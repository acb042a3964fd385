"""The newest sample of each series, held for a while (its staleness).

No history is needed: beyond a block only the newest sample of each row is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.monitor.domain.conditions import Condition
from services.monitor.domain.windows import (
    NEVER,
    NONE,
    Conditions,
    Deciding,
    Findings,
    Floats,
    Ints,
    Verdicted,
    Visible,
    count_fresh,
    verdicts_of,
)


@dataclass(slots=True)
class LastFindings(Verdicted):
    offset: Ints

    def standing(self, row: int, column: int) -> int:
        # After a restart with a changed rule a breach begins with the sample that is held already.
        return max(1, int(self.fresh[row, column]))

    def deciding(self, row: int, column: int) -> Deciding:
        offset = int(self.offset[row, column])
        return Deciding(offset, offset)


class LastBank:
    """Rows whose value is the newest sample not older than ``window`` seconds.

    The newest is the one with the greatest time, and of equal times the one appended last.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.when = Conditions()
        self.clear = Conditions()
        self.latest = NEVER
        self._second = np.empty(0, dtype=np.int64)
        self._time = np.empty(0)
        self._value = np.empty(0)
        self._offset = np.empty(0, dtype=np.int64)

    @property
    def rows(self) -> int:
        return len(self._second)

    def add_row(self, when: Condition, clear: Condition | None) -> int:
        self.when.add(when)
        self.clear.add(clear)
        self._second = np.append(self._second, NEVER)
        self._time = np.append(self._time, -np.inf)
        self._value = np.append(self._value, np.nan)
        self._offset = np.append(self._offset, NONE)
        return self.rows - 1

    def restore(self, samples: Visible, through: int) -> None:
        self._hold(samples.only(samples.second <= through))

    def fold(self, samples: Visible, first: int, last: int) -> Findings:
        seconds = last - first + 1
        samples = samples.only(samples.second + self.window > samples.first)
        fresh = count_fresh(self.when, samples, first, seconds, all_count=False)
        late = samples.second < first
        if late.any():
            self._hold(samples.only(late))
            samples = samples.only(~late)
        value, second, offset = self._over(samples, first, seconds)
        evaluated = np.arange(first, last + 1)
        verdict = verdicts_of(self, value, evaluated < second + self.window)
        return LastFindings(verdict, value, fresh, offset)

    def _over(self, samples: Visible, first: int, seconds: int) -> tuple[Floats, Ints, Ints]:
        """Value, second and offset of the newest sample at each second of the block."""
        if not len(samples.row):
            shape = (self.rows, seconds)
            return (
                np.broadcast_to(self._value[:, None], shape),
                np.broadcast_to(self._second[:, None], shape),
                np.broadcast_to(self._offset[:, None], shape),
            )
        order = np.argsort(samples.time, kind="stable")
        row = samples.row[order]
        column = samples.second[order] - first + 1
        # Column 0 is what was held before the block. Of several samples in one cell the last
        # assigned, hence the newest, stays.
        shape = (self.rows, seconds + 1)
        value: Floats = np.empty(shape)
        offset: Ints = np.empty(shape, dtype=np.int64)
        newest = np.zeros(shape, dtype=np.int64)
        value[:, 0] = self._value
        offset[:, 0] = self._offset
        value[row, column] = samples.value[order]
        offset[row, column] = samples.offset[order]
        newest[row, column] = column
        time = np.zeros(shape)
        time[:, 0] = self._time
        time[row, column] = samples.time[order]
        newest = np.maximum.accumulate(newest, axis=1)
        each = np.arange(self.rows)[:, None]
        second: Ints = np.where(newest == 0, self._second[:, None], first - 1 + newest)
        value, offset = value[each, newest], offset[each, newest]
        self._second = second[:, -1].copy()
        self._value = value[:, -1].copy()
        self._offset = offset[:, -1].copy()
        self._time = time[each[:, 0], newest[:, -1]]
        self.latest = max(self.latest, int(samples.second.max()))
        return value[:, 1:], second[:, 1:], offset[:, 1:]

    def _hold(self, samples: Visible) -> None:
        """Samples of seconds that were evaluated: each is held if it is newer than what is."""
        if not len(samples.row):
            return
        order = np.argsort(samples.time, kind="stable")
        order = order[samples.time[order] >= self._time[samples.row[order]]]
        row = samples.row[order]
        self._second[row] = samples.second[order]
        self._time[row] = samples.time[order]
        self._value[row] = samples.value[order]
        self._offset[row] = samples.offset[order]
        self.latest = max(self.latest, int(samples.second.max()))
