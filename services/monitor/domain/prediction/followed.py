"""One predictive alert on one partition: its groups as rows of a predictor, and its open alerts."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from services.monitor.domain.engine.series import SeriesName
from services.monitor.domain.language.groups import Group
from services.monitor.domain.measuring.windows import Flags, Floats, Ints
from services.monitor.domain.prediction.alerts import Prediction, PredictiveAlert
from services.monitor.domain.prediction.memory import RememberedSeries, definition_of
from services.monitor.domain.prediction.portions import Part
from services.monitor.domain.prediction.predictor import Observed, Predictor, Prior
from services.monitor.domain.prediction.raised import (
    End,
    Raised,
    Told,
    end_at_sample,
    end_of_window,
    with_sample,
)
from services.monitor.domain.prediction.track_record import LaterAnswers, TrackRecord
from services.monitor.domain.prediction.waiting import BINS

MAX_SERIES = 20_000
"""Of one alert on one partition: labels without bounds must not take all the memory (9 KiB each)."""
_NONE = -1


@dataclass(frozen=True, slots=True)
class Moments:
    """The records of a portion: their offsets, and the watermark before and after each. What follows
    from records before ``told_from`` has been told already."""

    offset: Ints
    before: Floats
    due: Floats
    told_from: int


class FollowedAlert:
    """``begin`` is the first offset whose samples count."""

    def __init__(self, alert: PredictiveAlert, network: Prior, begin: int, *, keeping: bool) -> None:
        self.alert = alert
        self.definition = definition_of(alert)
        self.begin = begin
        self.refused = 0
        """Series that were one too many: they are not predicted."""
        self._keeping = keeping
        self._selection = alert.selection
        self._predictor = Predictor(network, alert.horizon)
        self._groups: list[Group] = []
        self._row_of: dict[Group, int] = {}
        self._open: dict[int, Raised] = {}
        self._made: list[Prediction] = []
        self._track = TrackRecord()
        self._columns: dict[str, Ints] = {}
        self._lacks_since = np.empty(0)
        self._grow(0)

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def open(self) -> int:
        """How many alerts are raised now."""
        return len(self._open)

    def row_of(self, name: SeriesName) -> int:
        """The row of the series' group, made if there is none and it is not one too many; or -1."""
        group = self._selection.group_of(name.component, name.labels)
        if group is None:
            return _NONE
        if len(self._groups) >= MAX_SERIES and group not in self._row_of:
            self.refused += 1
            return _NONE
        return self._row(group)

    def _row(self, group: Group) -> int:
        row = self._row_of.setdefault(group, len(self._groups))
        if row == len(self._groups):
            self._groups.append(group)
            if row >= len(self._predictor):
                self._grow(max(4, 2 * row))
        return row

    def _grow(self, size: int) -> None:
        self._predictor.grow(size)
        for name, fill in (("read_to", 0), ("first", _NONE), ("samples", 0), ("lacks", _NONE)):
            grown = np.full(size, fill, dtype=np.int64)
            known = self._columns.get(name)
            if known is not None:
                grown[: len(known)] = known
            self._columns[name] = grown
        self._lacks_since = np.concatenate((self._lacks_since, np.zeros(size - len(self._lacks_since))))

    def fold(self, part: Part, moments: Moments) -> Generator[None, None, list[Told]]:
        """Take in the samples of a portion; what there is to tell."""
        part = self._unread(part)
        observed: Observed | None = None
        if len(part.row):
            self._note_lacking(part, moments)
            excess = self.alert.excess(part.value)
            observed = yield from self._predictor.observing(part.row, part.time, excess)
            self._track.count(observed, part.offset >= moments.told_from)
            if self._keeping:
                self._keep(part, observed)
        told = self._follow(part, observed, moments)
        if observed is not None:
            np.add.at(self._columns["samples"], part.row[observed.counted], 1)
        return told

    def _unread(self, part: Part) -> Part:
        """Without the samples that the remembered rows have taken in before."""
        new = part.offset >= np.maximum(self._columns["read_to"][part.row], self.begin)
        if new.all():
            return part
        return Part(part.row[new], part.time[new], part.value[new], part.offset[new], part.record[new])

    def _note_lacking(self, part: Part, moments: Moments) -> None:
        """Note the first sample that the record of each row lacks, and the first one of all."""
        # Of several values for one place the last one stays: so the first sample's, backwards.
        row, offset = part.row[::-1], part.offset[::-1]
        since = moments.before[part.record[::-1]]
        clean = self._columns["lacks"][row] == _NONE
        self._columns["lacks"][row[clean]] = offset[clean]
        self._lacks_since[row[clean]] = since[clean]
        new = self._columns["first"][row] == _NONE
        self._columns["first"][row[new]] = offset[new]

    def _keep(self, part: Part, observed: Observed) -> None:
        made = np.flatnonzero(np.isfinite(observed.probability))
        for at in made.tolist():
            group = self._groups[part.row[at]]
            chance, value = float(observed.probability[at]), float(part.value[at])
            self._made.append(Prediction(float(part.time[at]), self.alert, group, chance, value))

    def take_made(self) -> list[Prediction]:
        made, self._made = self._made, []
        return made

    def take_track_record(self) -> TrackRecord:
        track, self._track = self._track, TrackRecord()
        return track

    def _follow(self, part: Part, observed: Observed | None, moments: Moments) -> list[Told]:
        """Raise and end alerts: only rows that have one open, or are about to, are looked at."""
        likely = np.empty(0, dtype=np.int64)
        if observed is not None:
            likely = part.row[observed.probability >= self.alert.confidence]
        looked_at = sorted({*self._open, *likely.tolist()})
        if not looked_at:
            return []
        told: list[Told] = []
        order, begins, ends = np.empty(0, dtype=np.int64), [0] * len(looked_at), [0] * len(looked_at)
        if observed is not None:
            order = np.argsort(part.row, kind="stable")
            order = order[observed.counted[order]]
            rows = part.row[order]
            begins = np.searchsorted(rows, looked_at, side="left").tolist()
            ends = np.searchsorted(rows, looked_at, side="right").tolist()
        answers = None if observed is None or not len(likely) else LaterAnswers(part.row, observed)
        for row, begin, end in zip(looked_at, begins, ends, strict=True):
            steps = _Steps(self, row, moments, answers, told)
            if observed is not None and begin < end:
                steps.through(part, observed.probability, order[begin:end])
            steps.time_passes(len(moments.due))
        return told

    def state_of(self, row: int) -> tuple[Group, Raised | None, int, int]:
        """Group, open alert, first offset and number of samples of a row."""
        columns = self._columns
        return (
            self._groups[row],
            self._open.get(row),
            int(columns["first"][row]),
            int(columns["samples"][row]),
        )

    def record_of(self, row: int, tenth: int) -> tuple[int, int]:
        """How many predictions of the row in this tenth were answered, and how many came true."""
        return self._predictor.record_of(row, tenth)

    def put(self, row: int, raised: Raised | None) -> None:
        """Keep what a row has open."""
        if raised is None:
            self._open.pop(row, None)
        else:
            self._open[row] = raised

    def lacks_end(self, row: int, offset: int, before: float) -> None:
        """The row's record lacks that its alert ended with this record, and nothing before."""
        if self._columns["lacks"][row] == _NONE:
            self._columns["lacks"][row] = offset
            self._lacks_since[row] = before

    def recall(self, memory: RememberedSeries) -> None:
        """Put a series back in its place. Raises ValueError if it is of another layout."""
        row = self._row(memory.of)
        self._predictor.load_row(row, memory.model)
        self._columns["read_to"][row] = memory.next_offset
        self._columns["first"][row] = memory.first_offset
        self._columns["samples"][row] = memory.samples
        self.put(row, memory.raised)

    def remember(self, row: int, next_offset: int) -> RememberedSeries:
        """The record of a row, which lacks nothing now."""
        self._columns["lacks"][row] = _NONE
        group, raised, first, samples = self.state_of(row)
        alert = replace(self.alert, place="")
        model = self._predictor.row_bytes(row)
        return RememberedSeries(self.definition, alert, group, next_offset, first, samples, raised, model)

    def overdue(self, before: float, limit: int) -> tuple[Ints, Ints]:
        """First offsets lacking, and rows, of at most ``limit`` rows whose record lacks what came before
        this second; the smallest offsets."""
        lacks = self._columns["lacks"][: len(self)]
        rows = np.flatnonzero((lacks != _NONE) & (self._lacks_since[: len(self)] <= before))
        rows = rows[np.argsort(lacks[rows], kind="stable")[:limit]]
        return lacks[rows], rows

    def first_lacking(self) -> tuple[int, float] | None:
        """The first offset that some row's record lacks, and the watermark before it."""
        lacks = self._columns["lacks"][: len(self)]
        rows = np.flatnonzero(lacks != _NONE)
        if not len(rows):
            return None
        row = rows[np.argmin(lacks[rows])]
        return int(lacks[row]), float(self._lacks_since[row])


class _Steps:
    """One row's way through a portion: its samples, and the time that passes between them."""

    def __init__(
        self,
        alert: FollowedAlert,
        row: int,
        moments: Moments,
        answers: LaterAnswers | None,
        told: list[Told],
    ) -> None:
        self._alert = alert
        self._row = row
        self._moments = moments
        self._answers = answers
        self._told = told
        self._group, self._raised, self._first, self._samples = alert.state_of(row)

    def through(self, part: Part, probability: Floats, which: Ints) -> None:
        """The row's samples that count, in order."""
        alert = self._alert.alert
        breaching: Flags = alert.excess(part.value[which]) > 0.0
        columns = (part.time[which], part.value[which], probability[which], part.offset[which])
        lists = [column.tolist() for column in columns]
        places = (part.record[which].tolist(), breaching.tolist(), which.tolist())
        for time, value, chance, offset, record, breaches, index in zip(*lists, *places, strict=True):
            self._samples += 1
            if self._raised is not None:
                self.time_passes(record)
            if self._raised is not None:
                end = end_at_sample(self._raised, alert, time, breaching=breaches, probability=chance)
                if end is None:
                    self._raised = with_sample(self._raised)
                else:
                    self._end(end, min(time, self._raised.until), offset, value, chance)
            # False for nan.
            likely = self._raised is None and chance >= alert.confidence
            if likely and self._moments.due[record] < time + alert.horizon:
                self._raise(time, value, chance, offset, index)
        self._alert.put(self._row, self._raised)

    def time_passes(self, records: int) -> None:
        """End what is open if so many records of the portion moved the watermark past its window."""
        raised, due = self._raised, self._moments.due
        if raised is None or not records or due[records - 1] < raised.until:
            return
        by = int(np.searchsorted(due, raised.until, side="left"))
        offset = int(self._moments.offset[by])
        self._alert.lacks_end(self._row, offset, float(self._moments.before[by]))
        self._end(end_of_window(raised), raised.until, offset, None, np.nan)
        self._alert.put(self._row, None)

    def _raise(self, time: float, value: float, chance: float, offset: int, index: int) -> None:
        alert = self._alert.alert
        answered, came_true = self._record_at(chance, index)
        until = time + alert.horizon
        raised = Raised(time, until, chance, value, self._first, offset, self._samples, answered, came_true)
        self._raised = raised
        self._told.append(Told("raised", time, offset, alert, self._group, raised, value, chance))

    def _record_at(self, chance: float, index: int) -> tuple[int, int]:
        """How the row's predictions that said about as much had come true by this sample."""
        tenth = min(int(chance * BINS), BINS - 1)
        answered, came_true = self._alert.record_of(self._row, tenth)
        if self._answers is None:
            return answered, came_true
        later, later_true = self._answers.after(self._row, index, tenth)
        return answered - later, came_true - later_true

    def _end(self, end: End, at: float, offset: int, value: float | None, chance: float) -> None:
        raised, self._raised = self._raised, None
        if raised is not None:
            said = None if np.isnan(chance) else chance
            alert = self._alert.alert
            self._told.append(Told(end, at, offset, alert, self._group, raised, value, said))
