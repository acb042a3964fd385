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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.phases import Verdict

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Verdicts = NDArray[np.int8]
NO_DATA, CLEAR, BETWEEN, BREACH = (np.int8(each) for each in Verdict)
"""The verdicts as columns hold them. Of a member of an enum numpy asks a dozen attributes at each use."""

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

    def only(self, mask: Flags | Ints) -> Visible:
        return Visible(
            self.row[mask],
            self.second[mask],
            self.first[mask],
            self.time[mask],
            self.value[mask],
            self.offset[mask],
        )


class Deciding(NamedTuple):
    """The offsets between which the samples behind one evaluation are."""

    first_offset: int
    last_offset: int


class Findings(Protocol):
    """What a bank found in a block of seconds, by row; ``column`` is a second's distance from the
    block's first. Rows are arrays of [seconds]."""

    def breaching(self) -> list[int]:
        """The rows with a breach."""
        ...

    def never_clear(self) -> set[int]:
        """The rows whose every second has data and is not clear."""
        ...

    def verdicts(self, row: int) -> Verdicts: ...

    def values(self, row: int) -> Floats:
        """Of a second without data it may be any number."""
        ...

    def fresh(self, row: int) -> Ints:
        """How many breaching samples each second counts for the first time."""
        ...

    def readings(self) -> tuple[Ints, Floats]:
        """Every value that some second has, in any order, each with its row."""
        ...

    def values_at(self, rows: Sequence[int], columns: Sequence[int]) -> list[float]:
        """The value of each row at its column, a second with data."""
        ...

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


_COMPARED = (np.greater, np.equal, np.less)
_COMPARES = {
    (True, False, False): np.greater,
    (True, True, False): np.greater_equal,
    (False, False, True): np.less,
    (False, True, True): np.less_equal,
    (False, True, False): np.equal,
    (True, False, True): np.not_equal,
}


class Conditions:
    """The conditions of a bank's rows, compared in columns."""

    def __init__(self) -> None:
        self._rows: list[Condition | None] = []
        self.origin: Conditions = self
        """Those that these were picked from: what is known of cells by a condition is kept under it."""
        self._in_columns = 0
        self._threshold: Floats = np.empty(0)
        self._accepts: Flags = np.empty((0, 3), dtype=np.bool_)
        self._sides: tuple[bool, ...] = (False, False, False)
        self._one_sided: Flags = np.empty(0, dtype=np.bool_)
        self._kinds: set[tuple[bool, bool, bool]] = set()
        self._compare_all: np.ufunc | None = None
        """What compares every row that has a condition, where they are all of one kind."""

    def add(self, condition: Condition | None) -> None:
        self._rows.append(condition)

    @property
    def rows(self) -> int:
        return len(self._rows)

    def only(self, rows: Ints) -> Conditions:
        """The conditions of these rows alone, which are numbered anew; no more can be added."""
        self._to_columns()
        some = Conditions()
        some.origin = self.origin
        some._rows, some._in_columns = [None] * len(rows), len(rows)
        some._threshold, some._accepts = self._threshold[rows], self._accepts[rows]
        some._one_sided, some._sides = self._one_sided[rows], self._sides
        some._compare_all = self._compare_all
        return some

    @property
    def threshold(self) -> Floats:
        self._to_columns()
        return self._threshold

    @property
    def given(self) -> Flags:
        """Which rows have a condition."""
        self._to_columns()
        return np.asarray(self._accepts.any(axis=1))

    @property
    def are_given(self) -> bool:
        """Whether any row has a condition."""
        self._to_columns()
        return any(self._sides)

    @property
    def upward(self) -> Flags:
        """Which rows accept what is above their threshold."""
        self._to_columns()
        return self._accepts[:, 0]

    @property
    def one_sided(self) -> Flags:
        """For which rows everything between two accepted values, and between two others, is as they."""
        self._to_columns()
        return self._one_sided

    @property
    def are_one_sided(self) -> bool:
        return bool(self.one_sided.all())

    def _to_columns(self) -> None:
        if self._in_columns == len(self._rows):
            return
        none = (False, False, False)
        added = self._rows[self._in_columns :]
        accepts = np.array([row.accepts if row else none for row in added])
        threshold = np.array([row.threshold if row else 0.0 for row in added])
        self._accepts = np.concatenate([self._accepts, accepts])
        self._threshold = np.concatenate([self._threshold, threshold])
        self._sides = tuple(bool(side.any()) for side in self._accepts.T)
        self._one_sided = (self._accepts[:, 0] != self._accepts[:, 2]) | ~self._accepts.any(axis=1)
        self._kinds |= {row.accepts for row in added if row is not None}
        self._compare_all = _COMPARES.get(next(iter(self._kinds))) if len(self._kinds) == 1 else None
        self._in_columns = len(self._rows)

    def of_matrix(self, values: Floats) -> Flags:
        """Whether each value of [rows, n] satisfies its row's condition; any answer for a row without."""
        self._to_columns()
        return self._compare(values, self._threshold[:, None], slice(None), 1)

    def of_rows(self, rows: Ints, values: Floats) -> Flags:
        """As ``of_matrix``, for flat ``values``, each of its own row."""
        self._to_columns()
        return self._compare(values, self._threshold[rows], rows, 0)

    def of_runs(self, rows: Ints, count: Ints, values: Floats) -> Flags:
        """As ``of_rows``, for ``count`` values of each of the rows, one row after the other."""
        self._to_columns()
        if self._compare_all is not None:
            found: Flags = self._compare_all(values, self._threshold[rows].repeat(count))
            return found
        return self.of_rows(rows.repeat(count), values)

    def of_differences(self, rows: Ints, above: Floats) -> Flags:
        """As ``of_rows``, for values that are so far ``above`` the threshold."""
        self._to_columns()
        return self._compare(above, np.zeros(1), rows, 0)

    def _compare(self, values: Floats, threshold: Floats, rows: Ints | slice, more: int) -> Flags:
        if self._compare_all is not None:
            found: Flags = self._compare_all(values, threshold)
            return found
        accepts = self._accepts[rows].reshape(-1, 3, *(1,) * more)
        result: Flags = np.zeros(values.shape, dtype=np.bool_)
        for side, (is_any, compare) in enumerate(zip(self._sides, _COMPARED, strict=True)):
            if is_any:
                result |= accepts[:, side] & compare(values, threshold)
        return result


class Bank(Protocol):
    """All rows of one aggregate and window length."""

    window: int
    when: Conditions
    clear: Conditions

    @property
    def rows(self) -> int: ...

    @property
    def latest(self) -> int:
        """The greatest p folded in: the bank is empty after latest + window - 1."""
        ...

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
class Matrix:
    """Findings worked out for every second, as arrays of [rows, seconds]."""

    verdict: Verdicts
    every_value: Floats
    every_fresh: Ints

    def breaching(self) -> list[int]:
        rows: list[int] = np.flatnonzero((self.verdict == BREACH).any(axis=1)).tolist()
        return rows

    def never_clear(self) -> set[int]:
        return set(np.flatnonzero((self.verdict >= BETWEEN).all(axis=1)).tolist())

    def verdicts(self, row: int) -> Verdicts:
        found: Verdicts = self.verdict[row]
        return found

    def values(self, row: int) -> Floats:
        found: Floats = self.every_value[row]
        return found

    def fresh(self, row: int) -> Ints:
        found: Ints = self.every_fresh[row]
        return found

    def readings(self) -> tuple[Ints, Floats]:
        has_data = self.verdict != NO_DATA
        return np.nonzero(has_data)[0], self.every_value[has_data]

    def values_at(self, rows: Sequence[int], columns: Sequence[int]) -> list[float]:
        found: list[float] = self.every_value[rows, columns].tolist() if rows else []
        return found

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
    verdict = np.where(breach, BREACH, CLEAR)
    if clear.are_given:
        between = clear.given[:, None] & ~breach & ~clear.of_matrix(value)
        verdict[between] = BETWEEN
    verdict[~(has_data & np.isfinite(value))] = NO_DATA
    return verdict


def count_fresh(rows: int, samples: Visible, first: int, seconds: int) -> Ints:
    """How many samples each second counts for the first time, [rows, seconds]."""
    fresh = np.zeros((rows, seconds), dtype=np.int64)
    np.add.at(fresh, (samples.row, samples.first - first), 1)
    return fresh
