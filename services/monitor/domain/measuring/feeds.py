"""Which row of a bank, or which lane, the samples of each series count for."""

from __future__ import annotations

import numpy as np

from services.monitor.domain.measuring.columns import Pending
from services.monitor.domain.measuring.windows import Ints, Visible

_UNFED = -1


class Feed:
    """Rows by the number of the series; a series feeds one row at most, a row may have several."""

    def __init__(self) -> None:
        self._row_of: Ints = np.full(64, _UNFED, dtype=np.int64)

    def add(self, series: int, row: int) -> None:
        """From now on the samples of this series count for this row."""
        if series >= len(self._row_of):
            larger = np.full(2 * series, _UNFED, dtype=np.int64)
            larger[: len(self._row_of)] = self._row_of
            self._row_of = larger
        self._row_of[series] = row

    def row(self, series: int) -> int | None:
        """The row of one series; None if it feeds none."""
        if series >= len(self._row_of) or self._row_of[series] == _UNFED:
            return None
        return int(self._row_of[series])

    def rows(self, series: Ints) -> Ints:
        """The row of each of these series, or -1."""
        rows = self._row_of
        known = series < len(rows)
        if known.all():
            return rows[series]
        return np.where(known, rows[np.minimum(series, len(rows) - 1)], _UNFED)

    def visible(self, samples: Pending) -> Visible:
        """Those of the samples that count for a row."""
        row = self.rows(samples.series)
        visible = Visible(row, samples.second, samples.first, samples.time, samples.value, samples.offset)
        return visible if not len(row) or row.min() >= 0 else visible.only(row >= 0)
