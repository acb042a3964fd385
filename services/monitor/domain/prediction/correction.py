"""What a series teaches about itself: its own logistic regression on top of the network.

The network's log-odds are the first guess. Each answered prediction moves, by one step of the
extended Kalman filter for logistic regression, a weight for that guess, an offset (together an
online Platt scaling), and a weight for each unit of the last hidden layer. The covariance says how
far a weight may still move; it is narrow at first, so that a handful of answers does not undo
what thousands of series taught, and grows a little with each answer, so that old ones fade: by as much as
it was at first in some seventy days of a horizon of half an hour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

_OFFSET, _GUESS, _UNIT = 0.2, 0.1, 0.04
"""Variances of the weights before anything was answered."""
_DRIFT = 0.00005
_LEAST_CURVATURE = 0.01


class Correction:
    """Weights and covariance of ``size`` series, for ``units`` hidden units."""

    def __init__(self, size: int, units: int) -> None:
        self._variance = np.array([_OFFSET, _GUESS, *[_UNIT] * units])
        width = len(self._variance)
        self.arrays: dict[str, npt.NDArray[Any]] = {
            "weights": np.zeros((size, width), dtype=np.float32),
            "covariance": np.zeros((size, width, width), dtype=np.float32),
        }
        self._begin(0)

    def grow(self, size: int) -> None:
        """Make room for ``size`` series; those there are keep their rows."""
        for name, old in self.arrays.items():
            new = np.zeros((size, *old.shape[1:]), dtype=old.dtype)
            new[: len(old)] = old
            self.arrays[name] = new
        self._begin(len(old))

    def _begin(self, first: int) -> None:
        self.arrays["weights"][first:, 1] = 1.0
        self.arrays["covariance"][first:] = np.diag(self._variance)

    def probability(self, rows: Rows, regressors: Array) -> Array:
        """The corrected probability, drawn towards 1/2 by what is not known of the weights
        (MacKay 1992)."""
        score = _dots(self.arrays["weights"][rows], regressors)
        doubt = _dots(self._spread(rows, regressors), regressors)
        return _logistic(score / np.sqrt(1.0 + np.pi * np.maximum(doubt, 0.0) / 8.0))

    def learn(self, rows: Rows, regressors: Array, came: Array) -> None:
        """One answer of each of these rows: 1.0 if the breach came, else 0.0."""
        weights = self.arrays["weights"][rows].astype(np.float64)
        covariance = self.arrays["covariance"][rows].astype(np.float64)
        diagonal = np.arange(len(self._variance))
        covariance[:, diagonal, diagonal] += _DRIFT * self._variance
        said = _logistic(_dots(weights, regressors))
        curvature = np.maximum(said * (1.0 - said), _LEAST_CURVATURE)
        spread = _multiply(covariance, regressors)
        gain = spread / (1.0 + curvature * _dots(spread, regressors))[:, None]
        weights += gain * (came - said)[:, None]
        covariance -= curvature[:, None, None] * gain[:, :, None] * spread[:, None, :]
        self.arrays["weights"][rows] = weights
        self.arrays["covariance"][rows] = covariance

    def _spread(self, rows: Rows, regressors: Array) -> Array:
        return _multiply(self.arrays["covariance"][rows], regressors)


def regressors(log_odds: Array, hidden: Array) -> Array:
    """What the weights belong to: an offset, the network's guess, its last hidden layer."""
    return np.concatenate((np.ones((len(hidden), 1)), log_odds[:, None], hidden), axis=1)


def _multiply(matrices: npt.NDArray[Any], vectors: Array) -> Array:
    total = np.zeros(vectors.shape)
    for index in range(vectors.shape[1]):
        total += matrices[:, index] * vectors[:, index, None]
    return total


def _dots(left: npt.NDArray[Any], right: Array) -> Array:
    total = np.zeros(len(right))
    for index in range(right.shape[1]):
        total += left[:, index] * right[:, index]
    return total


def _logistic(score: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-np.clip(score, -30.0, 30.0)))
