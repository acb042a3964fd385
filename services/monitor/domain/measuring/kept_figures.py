"""What aggregates have worked out of single cells, kept for as long as the cells are held.

A window of five minutes holds three hundred cells of a lane, and in a second one comes in and one goes
out. What is known of the others need not be worked out again: of each cell once. A cell has a number,
which it gets when it comes in, and anew when late samples change it; the figures stay where that number
says, however the cells are moved.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np

from services.monitor.domain.measuring.windows import Floats, Ints

_SMALLEST = 256


class KeptFigures:
    """Figures of cells, found again by the cell's number; NaN is what nobody has asked for yet."""

    def __init__(self) -> None:
        self._columns: dict[Hashable, tuple[Floats, ...]] = {}
        self._shift = 0
        """The number whose figures stand first in the columns."""
        self._next = 0

    def number(self, cells: int) -> Ints:
        """Numbers for so many cells that are new, or have changed."""
        first = self._next
        self._next += cells
        return np.arange(first, self._next)

    def of(
        self, what: Hashable, numbers: Ints, work: Callable[[Ints], tuple[Floats, ...]]
    ) -> tuple[Floats, ...]:
        """The figures ``what`` of the cells with these numbers, one column each. ``work`` gives them for
        the cells (by their places in ``numbers``) of which they are not known."""
        at = numbers - self._shift
        known = self._columns.get(what)
        if known is not None and len(known[0]) < self._next - self._shift:
            known = self._columns[what] = tuple(self._longer(column) for column in known)
        missing = np.arange(len(at)) if known is None else np.isnan(known[0][at]).nonzero()[0]
        if known is None or len(missing):
            found = work(missing)
            if known is None:
                known = self._columns[what] = tuple(self._longer(np.empty(0)) for _ in found)
            for column, values in zip(known, found, strict=True):
                column[at[missing]] = values
        return tuple(column[at] for column in known)

    def forget_before(self, number: int) -> None:
        """No cell with a smaller number is held any more."""
        useless = number - self._shift
        # So that moving what is left costs each figure but once or twice.
        if useless > _SMALLEST and 2 * useless > self._next - self._shift:
            self._columns = {
                what: tuple(column[useless:].copy() for column in known)
                for what, known in self._columns.items()
            }
            self._shift = number

    def _longer(self, column: Floats) -> Floats:
        longer = np.full(max(_SMALLEST, 2 * (self._next - self._shift)), np.nan)
        longer[: len(column)] = column
        return longer
