"""A fetch of records in columns, as the engine reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from services.monitor.domain.measuring.windows import Flags, Floats, Ints

NO_TIME = -np.inf
NO_SERIES = -1
"""The series of a sample that no trigger looks at: it still moves time."""


@dataclass(frozen=True, slots=True)
class ReleaseRead:
    """A release that the record of this index announces; ``time`` in epoch seconds. It shows no time:
    samples may lag behind what is told of a release at once."""

    record: int
    component: str
    time: float
    version: str | None


@dataclass(frozen=True, slots=True)
class Columns:
    """Consecutive records of one partition, and their samples in the same order.

    ``record_time`` is the greatest min(sample time, append time) of a record's samples, or a
    clock record's time, or ``NO_TIME``. ``record`` is the index of each sample's record. Times
    are epoch seconds.
    """

    record_offset: Ints
    record_append: Floats
    record_time: Floats
    record: Ints
    series: Ints
    time: Floats
    value: Floats
    releases: tuple[ReleaseRead, ...] = ()

    @classmethod
    def joined(cls, pieces: Sequence[Columns]) -> Columns:
        """The records of all of these (one at least), which follow each other."""
        begin = [0, *accumulate(piece.records for piece in pieces)]
        releases = [
            replace(read, record=at + read.record)
            for at, piece in zip(begin, pieces, strict=False)
            for read in piece.releases
        ]
        return cls(
            np.concatenate([piece.record_offset for piece in pieces]),
            np.concatenate([piece.record_append for piece in pieces]),
            np.concatenate([piece.record_time for piece in pieces]),
            np.concatenate([at + piece.record for at, piece in zip(begin, pieces, strict=False)]),
            np.concatenate([piece.series for piece in pieces]),
            np.concatenate([piece.time for piece in pieces]),
            np.concatenate([piece.value for piece in pieces]),
            tuple(releases),
        )

    @property
    def records(self) -> int:
        return len(self.record_offset)

    @property
    def offset(self) -> Ints:
        """The offset of each sample's record."""
        return self.record_offset[self.record]


@dataclass(frozen=True, slots=True)
class Pending:
    """Samples not yet visible, ordered by ``first``, the second that counts them first, and
    then by offset. ``second`` is the first second whose window holds the sample's time."""

    series: Ints
    second: Ints
    first: Ints
    time: Floats
    value: Floats
    offset: Ints

    @classmethod
    def none(cls) -> Pending:
        ints, floats = np.empty(0, dtype=np.int64), np.empty(0)
        return cls(ints, ints, ints, floats, floats, ints)

    @classmethod
    def of(cls, columns: Columns, first: Ints, second: Ints) -> Pending:
        """The samples of ``columns`` that some trigger looks at."""
        pending = cls(columns.series, second, first, columns.time, columns.value, columns.offset)
        looked_at = columns.series != NO_SERIES
        return pending if looked_at.all() else pending.take(looked_at)

    def __len__(self) -> int:
        return len(self.series)

    def take(self, which: Flags | Ints | slice) -> Pending:
        return Pending(
            self.series[which],
            self.second[which],
            self.first[which],
            self.time[which],
            self.value[which],
            self.offset[which],
        )

    @classmethod
    def joined(cls, portions: Sequence[Pending]) -> Pending:
        """The samples of all of these, which follow each other in the log."""
        if not portions:
            return cls.none()
        every = portions[0] if len(portions) == 1 else cls._concatenated(portions)
        if (every.first[1:] < every.first[:-1]).any():
            every = every.take(np.argsort(every.first, kind="stable"))
        return every

    @classmethod
    def _concatenated(cls, portions: Sequence[Pending]) -> Pending:
        return cls(
            np.concatenate([each.series for each in portions]),
            np.concatenate([each.second for each in portions]),
            np.concatenate([each.first for each in portions]),
            np.concatenate([each.time for each in portions]),
            np.concatenate([each.value for each in portions]),
            np.concatenate([each.offset for each in portions]),
        )


class PendingPortions:
    """Pending samples as they came, portion by portion, joined only once they count.

    While the allowed lateness lasts there may be hundreds of portions of a few samples each.
    """

    def __init__(self) -> None:
        self._portions: list[tuple[int, Pending]] = []
        """With the earliest second that counts a sample of the portion, in the order of the log."""

    def add(self, samples: Pending) -> None:
        """Add the next samples of the log."""
        if len(samples):
            self._portions.append((int(samples.first.min()), samples))

    def take(self, through: int) -> Pending:
        """Take out all samples that second ``through`` or one before it counts, and those that came before
        the last of them; what counts later of these is to be put back."""
        upto = len(self._portions)
        while upto and self._portions[upto - 1][0] > through:
            upto -= 1
        taken, self._portions = self._portions[:upto], self._portions[upto:]
        return Pending.joined([samples for _, samples in taken])

    def put_back(self, samples: Pending) -> None:
        """Put back samples that were taken out last."""
        if len(samples):
            self._portions.insert(0, (int(samples.first[0]), samples))


def second_of(time: Floats) -> Ints:
    """The first whole second T whose window (T - w, T] holds each time."""
    return np.ceil(time).astype(np.int64)
