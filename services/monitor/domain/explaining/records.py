"""Records in columns for an explanation: put together, and without those that change nothing.

A partition has the records of many components, and an answer may hang on a release of yesterday. A
record without a sample or a release of the component matters only where it makes another second due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from services.monitor.domain.engine.releases import Release
from services.monitor.domain.engine.series import Series
from services.monitor.domain.measuring.columns import NO_TIME, Columns, ReleaseRead


@dataclass(slots=True)
class Kept:
    """Takes consecutive portions, and keeps of each what ``component``'s triggers hang on; ``due`` is
    the last second that they have made due."""

    component: str
    lateness: float
    due: float = field(default=-np.inf)

    def of(self, columns: Columns, series: Series) -> Columns:
        """The records that matter, with all of their samples; ``series`` has numbered those."""
        if not columns.records:
            return columns
        shown = np.maximum.accumulate(columns.record_time)
        due = np.maximum(np.floor(shown - self.lateness), self.due)
        matters = due > np.concatenate([[self.due], due[:-1]])
        self.due = float(due[-1])
        # One more than there are: the number of no series is the last one's index.
        mine = np.zeros(series.known + 1, dtype=np.bool_)
        for number, name in series.names().items():
            mine[number] = name.component == self.component
        matters[columns.record[mine[columns.series]]] = True
        releases = [read for read in columns.releases if read.component == self.component]
        matters[[read.record for read in releases]] = True
        samples = matters[columns.record]
        number_of = np.cumsum(matters) - 1
        return Columns(
            columns.record_offset[matters],
            columns.record_append[matters],
            columns.record_time[matters],
            number_of[columns.record[samples]],
            columns.series[samples],
            columns.time[samples],
            columns.value[samples],
            tuple(
                ReleaseRead(int(number_of[read.record]), read.component, read.time, read.version)
                for read in releases
            ),
        )


def columns_of_releases(releases: Sequence[Release]) -> Columns:
    """Releases of which nothing else is known than the records that announced them."""
    none, floats = np.empty(0, dtype=np.int64), np.empty(0)
    ordered = sorted(releases, key=lambda each: each.offset)
    return Columns(
        np.array([each.offset for each in ordered], dtype=np.int64),
        np.array([each.time for each in ordered], dtype=np.float64),
        np.full(len(ordered), NO_TIME),
        none,
        none,
        floats,
        floats,
        tuple(ReleaseRead(at, each.component, each.time, each.version) for at, each in enumerate(ordered)),
    )


def joined_columns(parts: Sequence[Columns]) -> Columns:
    """Consecutive portions as one."""
    if not parts:
        return columns_of_releases(())
    begins = np.cumsum([0, *(part.records for part in parts[:-1])]).tolist()
    return Columns(
        np.concatenate([part.record_offset for part in parts]),
        np.concatenate([part.record_append for part in parts]),
        np.concatenate([part.record_time for part in parts]),
        np.concatenate([part.record + begin for part, begin in zip(parts, begins, strict=True)]),
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.value for part in parts]),
        tuple(
            ReleaseRead(read.record + begin, read.component, read.time, read.version)
            for part, begin in zip(parts, begins, strict=True)
            for read in part.releases
        ),
    )
