"""From columns of the metrics topic to the samples that predictions are made from.

Series are numbered by whoever reads (live, and once more when a restart re-reads); each alert has
a row for each of its groups. A ``Feed`` knows which number belongs to which row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.monitor.domain.engine.series import Series, SeriesName
from services.monitor.domain.measuring.columns import Columns
from services.monitor.domain.measuring.windows import Floats, Ints
from services.monitor.domain.prediction.alerts import PredictiveAlert


@dataclass(frozen=True, slots=True)
class Part:
    """The samples of one alert in a portion, in the order of the log; ``record`` is the index of
    each one's record."""

    row: Ints
    time: Floats
    value: Floats
    offset: Ints
    record: Ints


@dataclass(frozen=True, slots=True)
class Portion:
    """Consecutive records: their offsets, the times that they show (see Columns), and a part for
    each alert."""

    record_offset: Ints
    record_time: Floats
    parts: Sequence[Part]

    @property
    def samples(self) -> int:
        return sum(len(part.row) for part in self.parts)


class Rows(Protocol):
    """The rows of one alert."""

    alert: PredictiveAlert

    def row_of(self, name: SeriesName) -> int:
        """The row of the series' group, made if there is none; -1 if it is not to be predicted."""
        ...


def watched_labels(alerts: Iterable[PredictiveAlert]) -> Mapping[str, frozenset[str]]:
    """The metrics that predictions are made of, with the labels that tell their groups apart."""
    watched: dict[str, frozenset[str]] = {}
    for alert in alerts:
        watched[alert.metric] = watched.get(alert.metric, frozenset()) | alert.selection.labels
    return watched


class Feed:
    """Cuts portions out of columns whose series are numbered by ``series``."""

    def __init__(self, series: Series, alerts: Sequence[Rows]) -> None:
        self._series = series
        self._alerts = alerts
        self._known = 0
        # The last place stays -1: it is that of NO_SERIES.
        self._rows = [np.full(64, -1, dtype=np.int64) for _ in alerts]

    def portion(self, columns: Columns) -> Portion:
        """What these records are to the alerts."""
        if self._series.known > self._known:
            self._learn()
        parts = []
        for rows in self._rows:
            row = rows[columns.series]
            some = np.flatnonzero(row >= 0)
            record = columns.record[some]
            offset = columns.record_offset[record]
            parts.append(Part(row[some], columns.time[some], columns.value[some], offset, record))
        return Portion(columns.record_offset, columns.record_time, parts)

    def _learn(self) -> None:
        """Find the rows of the series that were not known yet."""
        names = list(self._series.names_from(self._known))
        first, self._known = self._known, self._series.known
        for index, alert in enumerate(self._alerts):
            if self._known >= len(self._rows[index]):
                larger = np.full(2 * self._known + 1, -1, dtype=np.int64)
                larger[:first] = self._rows[index][:first]
                self._rows[index] = larger
            for number, name in enumerate(names, start=first):
                if name.metric == alert.alert.metric:
                    self._rows[index][number] = alert.row_of(name)
