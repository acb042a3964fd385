"""Sliding windows over many series at once, in columns.

A *bank* holds the windows of all (trigger, component) pairs that share an aggregate and a
window length, one row each. A sample of time s belongs to second p = ceil(s), the first
second whose window (T - w, T] holds it, and leaves after p + w - 1. The engine hands a bank the
samples that become visible in a block of consecutive seconds and gets one verdict a row and
second back.

The result must not depend on how the log was cut into blocks, to the last bit: sums are
added in the order of the seconds and, within one, of the offsets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.conditions import Condition
from services.monitor.domain.phases import Verdict

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Verdicts = NDArray[np.int8]

NONE = -1
"""No offset."""
NEVER = -(1 << 62)
"""A second before every second."""


@dataclass(frozen=True, slots=True)
class Visible:
    """Samples of one bank that become visible in a block, in the order of their offsets.

    ``second`` is p; ``first`` the first second that counts the sample (later than p for one that
    came late). ``row`` may repeat.
    """

    row: Ints
    second: Ints
    first: Ints
    time: Floats
    value: Floats
    offset: Ints

    def only(self, mask: Flags) -> Visible:
        return Visible(
            self.row[mask],
            self.second[mask],
            self.first[mask],
            self.time[mask],
            self.value[mask],
            self.offset[mask],
        )


@dataclass(frozen=True, slots=True)
class Deciding:
    """The offsets between which the samples behind one evaluation are."""

    first_offset: int
    last_offset: int


class Findings(Protocol):
    """A block's results: arrays of [rows, seconds]."""

    verdict: Verdicts
    value: Floats
    fresh: Ints

    def standing(self, row: int, column: int) -> int:
        """How many breaching samples the window holds."""
        ...

    def deciding(self, row: int, column: int) -> Deciding:
        """Where the samples are; only for a second with data."""
        ...

    def further(self, column: int) -> tuple[float | None, ...]:
        """The values of a derived trigger's further checks."""
        ...

    def is_too_late(self, column: int) -> bool:
        """Whether the second is clear only because the release is too long ago."""
        ...


class Conditions:
    """The conditions of a bank's rows, compared in columns."""

    def __init__(self) -> None:
        self._rows: list[Condition | None] = []
        self._in_columns = 0
        self._threshold: Floats = np.empty((0, 1))
        self._accepts: Flags = np.empty((0, 3), dtype=np.bool_)
        self._sides: tuple[bool, ...] = (False, False, False)

    def add(self, condition: Condition | None) -> None:
        self._rows.append(condition)

    @property
    def rows(self) -> int:
        return len(self._rows)

    @property
    def given(self) -> Flags:
        """Which rows have a condition, [rows, 1]."""
        self._to_columns()
        return self._accepts[:, [0]] | self._accepts[:, [1]] | self._accepts[:, [2]]

    def _to_columns(self) -> None:
        if self._in_columns == len(self._rows):
            return
        none = (False, False, False)
        self._accepts = np.array([row.accepts if row else none for row in self._rows])
        self._threshold = np.array([[row.threshold if row else 0.0] for row in self._rows])
        self._sides = tuple(bool(side.any()) for side in self._accepts.T)
        self._in_columns = len(self._rows)

    def of_matrix(self, values: Floats) -> Flags:
        """Whether each value of [rows, n] satisfies its row's condition."""
        return self._compare(values, slice(None))

    def of_rows(self, rows: Ints, values: Floats) -> Flags:
        """Whether each of the flat ``values`` satisfies the condition of its row."""
        return self._compare(values[:, None], rows)[:, 0]

    def _compare(self, values: Floats, rows: Ints | slice) -> Flags:
        self._to_columns()
        threshold, accepts = self._threshold[rows], self._accepts[rows]
        result: Flags = np.zeros(values.shape, dtype=np.bool_)
        above, equal, below = self._sides
        if above:
            result |= accepts[:, [0]] & (values > threshold)
        if equal:
            result |= accepts[:, [1]] & (values == threshold)
        if below:
            result |= accepts[:, [2]] & (values < threshold)
        return result


class Bank(Protocol):
    """All rows of one aggregate and window length."""

    window: int
    when: Conditions
    clear: Conditions

    @property
    def latest(self) -> int:
        """The greatest p folded in: the bank is empty after latest + window - 1."""
        ...

    @property
    def rows(self) -> int: ...

    def add_row(self, when: Condition, clear: Condition | None) -> int: ...

    def fold(self, samples: Visible, first: int, last: int) -> Findings:
        """Fold in what becomes visible in the seconds ``first`` to ``last`` and evaluate them.
        ``first`` is the second after the last one evaluated, or later if no window held
        anything in between."""
        ...

    def restore(self, samples: Visible, through: int) -> None:
        """Fold in samples that were counted at or before ``through``, without evaluating."""
        ...


@dataclass(slots=True)
class Verdicted:
    """What every kind of Findings shares."""

    verdict: Verdicts
    value: Floats
    fresh: Ints

    def further(self, column: int) -> tuple[float | None, ...]:
        return ()

    def is_too_late(self, column: int) -> bool:
        return False


def verdicts_of(bank: Bank, value: Floats, has_data: Flags) -> Verdicts:
    """One verdict a row and second; a value that is no number (an overflow) is no data."""
    return verdicts_by(bank.when, bank.clear, value, has_data)


def verdicts_by(when: Conditions, clear: Conditions, value: Floats, has_data: Flags) -> Verdicts:
    """As ``verdicts_of``, by conditions that no bank holds."""
    breach = when.of_matrix(value)
    verdict = np.where(breach, np.int8(Verdict.BREACH), np.int8(Verdict.CLEAR))
    own_clear = clear.given
    if own_clear.any():
        between = own_clear & ~breach & ~clear.of_matrix(value)
        verdict[between] = Verdict.BETWEEN
    verdict[~(has_data & np.isfinite(value))] = Verdict.NO_DATA
    return verdict


def count_fresh(when: Conditions, samples: Visible, first: int, seconds: int, *, all_count: bool) -> Ints:
    """How many breaching samples each second counts for the first time, [rows, seconds]."""
    fresh = np.zeros((when.rows, seconds), dtype=np.int64)
    if len(samples.row):
        if not all_count:
            samples = samples.only(when.of_rows(samples.row, samples.value))
        np.add.at(fresh, (samples.row, samples.first - first), 1)
    return fresh
