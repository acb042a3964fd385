"""How good the predictions of an alert have been: what to believe of its next one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from services.monitor.domain.measuring.windows import Flags, Ints
from services.monitor.domain.prediction.predictor import Observed
from services.monitor.domain.prediction.waiting import BINS, bin_of


@dataclass(slots=True)
class TrackRecord:
    """Predictions made; those answered and those that came true, by tenths of what was said; and the sum
    of (said - came)², whose mean is the Brier score."""

    made: int = 0
    answered: Ints = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    came_true: Ints = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    squared_error: float = 0.0

    def count(self, observed: Observed, counts: Flags) -> None:
        """Add what came of those samples that count."""
        self.made += int((np.isfinite(observed.probability) & counts).sum())
        answers = (observed.answered_by, observed.answered_said, observed.answered_came)
        for by, said, came in zip(*answers, strict=True):
            some = counts[by]
            tenth = bin_of(said[some])
            np.add.at(self.answered, tenth, 1)
            np.add.at(self.came_true, tenth, came[some].astype(np.int64))
            self.squared_error += float(((said[some] - came[some]) ** 2).sum())


class LaterAnswers:
    """The answers within a portion, to take back what a sample in its middle could not know yet."""

    def __init__(self, rows: Ints, observed: Observed) -> None:
        """``rows`` are those of the samples that were observed."""
        by = np.concatenate([*observed.answered_by, np.empty(0, dtype=np.int64)])
        order = np.argsort(rows[by], kind="stable")
        self._by, self._row = by[order], rows[by][order]
        self._tenth = bin_of(np.concatenate([*observed.answered_said, np.empty(0)]))[order]
        self._came = np.concatenate([*observed.answered_came, np.empty(0)])[order].astype(np.int64)

    def after(self, row: int, index: int, tenth: int) -> tuple[int, int]:
        """How many of the row's predictions in this tenth were answered by samples after ``index``, and
        how many of these came true."""
        begin, end = np.searchsorted(self._row, [row, row + 1])
        some = slice(int(begin), int(end))
        later = (self._by[some] > index) & (self._tenth[some] == tenth)
        return int(later.sum()), int(self._came[some][later].sum())
