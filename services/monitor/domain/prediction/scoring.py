"""How good predictions of a breach are, measured the same way for every method.

A prediction is a probability, made at a sample, that the series breaches (exceeds its threshold)
within the horizon. It is judged only where there is something to predict and something to judge
by:

- the series is not breaching at that sample;
- the series goes on for a whole horizon after it: an answer that the data has not given is
  neither right nor wrong;
- a sample lies within the horizon: across a gap longer than that nobody knows.

A breach onset is a breaching sample after one that was not breaching. A series that begins in a
breach has no onset there, and a breach found after a gap longer than the horizon is none either:
no prediction could have been made in the horizon before it. An onset is foreseen if a prediction
at or above the confidence was made within the horizon before it, by any sample that was not
breaching, also one that ends up unjudged.

Base rates are of the judged outcomes themselves, so they know more than any method may know
beforehand; pooled, each series is held against its own base rate, which is harder to beat than
one for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BINS = 10


@dataclass(frozen=True, slots=True)
class Truth:
    """What happened, by sample. ``within``: a breach in (time, time + horizon]; ``judged``: whether
    a prediction made at this sample counts; ``onset``: a breach began here and could be foreseen."""

    time: Floats
    within: Bools
    judged: Bools
    onset: Bools
    breaching: Bools
    horizon: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of about the same probability: how many, their mean, and how often they came true."""

    low: float
    high: float
    count: int
    mean: float
    observed: float


@dataclass(frozen=True, slots=True)
class Score:
    """Counts and sums of one series, or of several added up; every rate is derived from them.

    ``squared`` is the sum of the squared errors of the probabilities, ``squared_base`` that of
    the series' own base rate. ``bin_count``, ``bin_sum`` and ``bin_true`` have one entry a bin.
    """

    judged: int
    came: int
    alerts: int
    right: int
    onsets: int
    foreseen: int
    squared: float
    squared_base: float
    bin_count: tuple[int, ...]
    bin_sum: tuple[float, ...]
    bin_true: tuple[int, ...]

    @property
    def base_rate(self) -> float:
        """Share of the judged predictions that a breach followed."""
        return _share(self.came, self.judged)

    @property
    def precision(self) -> float:
        """Share of the predictions at or above the confidence that came true; nan if none was made."""
        return _share(self.right, self.alerts)

    @property
    def recall(self) -> float:
        """Share of the breach onsets that were foreseen; nan if there was none."""
        return _share(self.foreseen, self.onsets)

    @property
    def brier(self) -> float:
        """Mean squared error of the probabilities (Brier 1950): 0 is perfect."""
        return _share(self.squared, self.judged)

    @property
    def brier_skill(self) -> float:
        """1 - Brier score / Brier score of always saying the base rate: 1 is perfect, 0 no better."""
        return 1.0 - self.squared / self.squared_base if self.squared_base > 0 else float("nan")

    @property
    def brier_skill_common(self) -> float:
        """As ``brier_skill``, over one base rate common to all of the series added up."""
        common = self.judged * self.base_rate * (1.0 - self.base_rate)
        return 1.0 - self.squared / common if common > 0 else float("nan")

    def reliability(self) -> tuple[Bin, ...]:
        """The bins that hold a prediction, from the lowest probability to the highest."""
        cells = zip(self.bin_count, self.bin_sum, self.bin_true, strict=True)
        return tuple(
            Bin(index / BINS, (index + 1) / BINS, count, total / count, true / count)
            for index, (count, total, true) in enumerate(cells)
            if count
        )

    def calibration_error(self) -> float:
        """Mean distance between what was said and what came, weighted by the predictions in each bin."""
        gaps = (abs(total - true) for total, true in zip(self.bin_sum, self.bin_true, strict=True))
        return _share(sum(gaps), self.judged)


def observe_truth(time: Floats, value: Floats, threshold: float, horizon: float) -> Truth:
    """What happened in a series. ``time`` in seconds, strictly ascending; ``horizon`` in seconds.

    Raises ValueError if the times do not ascend or the shapes differ.
    """
    if time.shape != value.shape or time.ndim != 1:
        raise ValueError("times and values are one-dimensional and of one length")
    if np.any(np.diff(time) <= 0):
        raise ValueError("times ascend strictly")
    breaching = value > threshold
    first, end = _following(time, horizon)
    breaches = np.concatenate(([0], np.cumsum(breaching)))
    within = breaches[end] > breaches[first]
    last = time[-1] if len(time) else 0.0
    judged = ~breaching & (end > first) & (time + horizon <= last)
    onset = np.zeros(len(time), dtype=np.bool_)
    onset[1:] = breaching[1:] & ~breaching[:-1] & (np.diff(time) <= horizon)
    return Truth(time, within, judged, onset, breaching, horizon)


def score(truth: Truth, probability: Floats, confidence: float) -> Score:
    """Judge one series. ``probability`` has one entry a sample, in [0, 1]; nan: none was made there
    (an onset before which none was made still counts as missed)."""
    made = np.isfinite(probability)
    judged = truth.judged & made
    said, came = probability[judged], truth.within[judged]
    alert = said >= confidence
    base = float(came.mean()) if len(came) else 0.0
    which = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    alerted = np.concatenate(([0], np.cumsum(made & ~truth.breaching & (probability >= confidence))))
    onset = np.flatnonzero(truth.onset)
    since = np.searchsorted(truth.time, truth.time[onset] - truth.horizon, side="left")
    return Score(
        judged=len(said),
        came=int(came.sum()),
        alerts=int(alert.sum()),
        right=int((alert & came).sum()),
        onsets=len(onset),
        foreseen=int((alerted[onset] > alerted[since]).sum()),
        squared=float(((said - came) ** 2).sum()),
        squared_base=float(((base - came) ** 2).sum()),
        bin_count=tuple(np.bincount(which, minlength=BINS).tolist()),
        bin_sum=tuple(np.bincount(which, weights=said, minlength=BINS).tolist()),
        bin_true=tuple(np.bincount(which[came], minlength=BINS).tolist()),
    )


def pool(scores: Iterable[Score]) -> Score:
    """Add several series up: each prediction and each onset weighs the same, whatever its series."""
    every = list(scores)
    return Score(
        judged=sum(one.judged for one in every),
        came=sum(one.came for one in every),
        alerts=sum(one.alerts for one in every),
        right=sum(one.right for one in every),
        onsets=sum(one.onsets for one in every),
        foreseen=sum(one.foreseen for one in every),
        squared=sum(one.squared for one in every),
        squared_base=sum(one.squared_base for one in every),
        bin_count=_columns(one.bin_count for one in every),
        bin_sum=tuple(float(sum(column)) for column in _by_bin(one.bin_sum for one in every)),
        bin_true=_columns(one.bin_true for one in every),
    )


def _following(time: Floats, horizon: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each sample the range of indices of the samples in (time, time + horizon]."""
    first = np.arange(1, len(time) + 1)
    end = np.searchsorted(time, time + horizon, side="right")
    return first, np.maximum(first, end)


def _by_bin(rows: Iterable[Sequence[float]]) -> list[tuple[float, ...]]:
    return list(zip(*rows, strict=True)) or [(0.0,)] * BINS


def _columns(rows: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return tuple(int(sum(column)) for column in _by_bin(rows))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
